use proptest::prelude::*;
use vr1_reward::{first_tagged, last_tagged};

#[test]
fn of_nested_tags_the_innermost_counts() {
    for (text, first, last) in [
        ("<a><a>5</a></a>", Some("5"), Some("5")),
        ("<a>1</a></a>", Some("1"), Some("1")),
        ("<a>put into <a>1</a>", Some("1"), Some("1")),
        ("<a>1</a><a><a>2</a></a>", Some("1"), Some("2")),
        ("<a>1</a> <a>2", Some("1"), Some("1")),
        ("</a>1<a>", None, None),
        ("<a></a>", Some(""), Some("")),
    ] {
        assert_eq!((first_tagged(text, "a"), last_tagged(text, "a")), (first, last), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_in_a_tag_holds_none_of_its_own(
        pieces in prop::collection::vec(prop::sample::select(&["<a>", "</a>", "x", "<b>"][..]), 0..12),
    ) {
        let text = pieces.concat();
        for found in [first_tagged(&text, "a"), last_tagged(&text, "a")].into_iter().flatten() {
            prop_assert!(!found.contains("<a>") && !found.contains("</a>"), "{found} in {text}");
        }
        let closed = text.find("<a>").is_some_and(|at| text[at..].contains("</a>"));
        prop_assert_eq!((first_tagged(&text, "a").is_some(), last_tagged(&text, "a").is_some()), (closed, closed));
    }

    #[test]
    fn however_deep_an_answer_is_wrapped_it_is_the_same(depth in 1_usize..6, answer in "[a-z0-9 ]{0,8}") {
        let text = format!("{}{answer}{}", "<answer>".repeat(depth), "</answer>".repeat(depth));
        prop_assert_eq!(last_tagged(&text, "answer"), Some(answer.as_str()));
        prop_assert_eq!(first_tagged(&text, "answer"), Some(answer.as_str()));
    }
}
