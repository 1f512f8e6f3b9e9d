//! The robust order: the last `<answer>`, the latest phrase or box that can be read, what the text settles on.

use vr1_eval::{Gold, How};

fn options(right: usize) -> Gold {
    let options = ["3", "4", "a dog", "None of these"].map(str::to_owned).to_vec();
    Gold::Option { right, options }
}

fn reads(gold: &Gold, cases: &[(&str, Option<&str>, Option<How>, f64)]) {
    for (completion, answer, how, mark) in cases {
        let found = gold.mark(completion, [1.0, 1.0]);
        let seen = (found.answer.as_deref(), found.how, found.marks["accuracy"]);
        assert_eq!(seen, (*answer, *how, *mark), "{completion:?}");
    }
}

#[test]
fn of_options_the_letter_or_the_words_are_taken_where_they_are_most_telling() {
    let (tag, phrase, boxed, text) = (Some(How::Tag), Some(How::Phrase), Some(How::Boxed), Some(How::Text));
    reads(
        &options(1),
        &[
            ("<answer>B</answer>", Some("B"), tag, 1.0),
            ("<answer>A</answer> or rather <answer>(B) 4</answer>", Some("B"), tag, 1.0),
            ("<answer>4</answer>", Some("B"), tag, 1.0),
            ("<answer>\\boxed{B}</answer>", Some("B"), tag, 1.0),
            // A tag is the answer, whatever is said outside.
            ("The answer is B. <answer>A</answer>", Some("A"), tag, 0.0),
            ("The answer is B. <answer>I am not sure</answer>", Some("I am not sure"), None, 0.0),
            ("<think>The answer is A.</think> The answer is B.", Some("B"), phrase, 1.0),
            ("**Answer:** B", Some("B"), phrase, 1.0),
            ("The correct option is B. It is not A.", Some("B"), phrase, 1.0),
            ("First I thought that the answer is A. In the end the answer is \\boxed{B}.", Some("B"), boxed, 1.0),
            ("\\boxed{A} was wrong; the final answer is B", Some("B"), phrase, 1.0),
            ("答案是 B。", Some("B"), phrase, 1.0),
            // The latest phrase says nothing, and the one before it does.
            ("The answer is B. Whether that answer is right is hard to say.", Some("B"), phrase, 1.0),
            ("B", Some("B"), text, 1.0),
            ("It shows four things.\n\nB. 4", Some("B"), text, 1.0),
            ("Surely there are 4 of them", Some("B"), text, 1.0),
            ("3 or 4", None, None, 0.0),
            ("", None, None, 0.0),
        ],
    );
    reads(
        &options(2),
        &[
            ("<answer>a dog</answer>", Some("C"), tag, 1.0),
            ("I see a dog.", Some("C"), text, 1.0),
            ("A hotdog", None, None, 0.0),
        ],
    );
}

#[test]
fn numbers_are_read_from_a_short_answer_and_last_in_a_long_one() {
    let gold = Gold::Number { value: 7.0, places: None };
    let (tag, phrase, boxed, text) = (Some(How::Tag), Some(How::Phrase), Some(How::Boxed), Some(How::Text));
    reads(
        &gold,
        &[
            ("<answer>7</answer>", Some("7"), tag, 1.0),
            ("<answer>There are 7 items</answer>", Some("7"), tag, 1.0),
            ("<answer>between 6 and 7</answer>", Some("between 6 and 7"), None, 0.0),
            ("So \\boxed{7}", Some("7"), boxed, 1.0),
            ("The answer is 7 items.", Some("7"), phrase, 1.0),
            ("2 and 5 make 7", Some("7"), text, 1.0),
            ("7 is 5 and 2", Some("2"), text, 0.0),
        ],
    );
    let rounded = Gold::Number { value: 1.2, places: Some(1) };
    reads(
        &rounded,
        &[("<answer>1.23</answer>", Some("1.23"), tag, 1.0), ("<answer>1.26</answer>", Some("1.26"), tag, 0.0)],
    );
}

#[test]
fn boxes_are_scaled_and_of_a_long_text_the_last_counts() {
    let gold = Gold::Box([10.0, 10.0, 50.0, 50.0]);
    let iou = |text: &str, scale| gold.mark(text, scale).marks["iou"];
    assert_eq!(iou("<answer>{\"bbox_2d\": [10, 10, 50, 50]}</answer>", [1.0, 1.0]), 1.0);
    assert_eq!(iou("[0, 0, 1, 1] is not it; [10, 10, 50, 50] is.", [1.0, 1.0]), 1.0);
    assert_eq!(iou("(5,20),(25,100)", [2.0, 0.5]), 1.0);
    let unread = gold.mark("nowhere", [1.0, 1.0]);
    assert_eq!((unread.how, unread.marks["iou"], unread.marks["accuracy"]), (None, 0.0, 0.0));
    // An overlap of exactly one half is none.
    assert_eq!(gold.mark("[10, 10, 50, 30]", [1.0, 1.0]).marks["accuracy"], 0.0);
}

#[test]
fn mathematics_is_compared_where_it_stands() {
    reads(
        &Gold::Math("\\frac{1}{2}".to_owned()),
        &[
            ("<answer>0.5</answer>", Some("0.5"), Some(How::Tag), 1.0),
            ("so it is \\boxed{\\frac{2}{4}}", Some("\\frac{2}{4}"), Some(How::Boxed), 1.0),
            ("Answer: 1/2", Some("1/2"), Some(How::Phrase), 1.0),
            ("one part of two, 1/2", None, Some(How::Text), 1.0),
            ("<answer>2</answer>", Some("2"), Some(How::Tag), 0.0),
        ],
    );
}
