use proptest::prelude::*;

use super::gives;

/// Whether the text states this number and no other.
fn is(text: &str, number: f64) -> bool {
    gives("number(completion, solution)", text, &number.to_string()) == Some(1.0)
}

#[track_caller]
fn states(text: &str, expected: Option<f64>) {
    match expected {
        Some(number) => assert!(is(text, number), "{text:?} is not {number}"),
        None => assert_eq!(gives("to_number(completion)", text, ""), None, "{text:?}"),
    }
}

#[test]
fn a_comma_belongs_to_a_number_between_groups_of_three_digits_alone() {
    states("1,234", Some(1234.0));
    states("-12,345,678.5", Some(-12_345_678.5));
    states("There are 1,000 of them, 1000 in all.", Some(1000.0));
    for unclear in ["10,5", "1,2,3", "12,50", "1,23,456", "1234,567", "12,3456", "0,123", "1,000,00", "5,5", "1,234,5"]
    {
        states(unclear, None);
    }
    let all = "let all = numbers(completion) in 100 * length(all) + sum(map(all, x => x))";
    assert_eq!(gives(all, "1,2,3 and 1, 2", ""), Some(500.0 + 9.0));
}

#[test]
fn digits_in_groups_and_fractions_and_digits_of_any_width_are_numbers() {
    for (text, number) in [
        ("1 000", 1000.0),
        ("10 000", 10_000.0),
        ("3 000 000 people", 3e6),
        ("1\u{a0}234.5", 1234.5),
        ("1\u{2009}000", 1000.0),
        (r"2\,500", 2500.0),
        ("½", 0.5),
        ("-½", -0.5),
        ("2½", 2.5),
        ("2 ½ cups", 2.5),
        ("1/2", 0.5),
        ("2 1/2", 2.5),
        ("-2 1/2", -2.5),
        ("1⁄2", 0.5),
        ("７", 7.0),
        ("１２．５", 12.5),
        ("１，０００", 1000.0),
        ("−５", -5.0),
        ("𝟕", 7.0),
        ("1e5", 1e5),
        ("2.5E-3", 2.5e-3),
        (".5", 0.5),
        ("5.", 5.0),
    ] {
        states(text, Some(number));
    }
    for text in ["12 3456", "2 3", "1000 000", "0 500", "10:30", "1:1", "01/02/2024", "1.2.3", "1/0", "10²", "3-4"] {
        states(text, None);
    }
}

#[test]
fn a_digit_behind_a_letter_states_no_number() {
    for text in ["CO2", "B3", "Gate B3", "H2O", "v1.2", "mp3", "x1,000", "é5", "Ж5"] {
        states(text, None);
    }
    for text in ["5cm", "5 cm", "共5个", "答案是5。", "No.5", "...5", "CO2: 5", "$5$", "x=5", "5th", "(5)", "5°"]
    {
        states(text, Some(5.0));
    }
}

#[test]
fn a_relaxed_number_leaves_nothing_over() {
    let relaxed = |text: &str, number: &str| gives("relaxed(completion, solution, tolerance=0)", text, number);
    for (text, number) in [(" 1,234 ", "1234"), ("-2½", "-2.5"), ("５％", "0.05"), ("10,5", "10,5")] {
        assert_eq!(relaxed(text, number), Some(1.0), "{text:?}");
    }
    for (text, number) in [("10,5", "105"), ("5 cm", "5"), ("3 4", "34"), ("1,2,3", "123")] {
        assert_eq!(relaxed(text, number), Some(0.0), "{text:?}");
    }
}

fn grouped(number: u64, between: &str) -> String {
    let digits = number.to_string();
    let lead = (digits.len() + 2) % 3 + 1;
    let (first, rest) = digits.split_at(lead);
    let groups = rest.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    std::iter::once(first.to_owned()).chain(groups).collect::<Vec<_>>().join(between)
}

proptest! {
    #[test]
    fn grouping_changes_no_number(number in 0_u64..1 << 50, words in "[a-z]{2,6}") {
        for between in [",", " ", "\u{202f}", r"\,", "，"] {
            let text = grouped(number, between);
            prop_assert!(is(&text, number as f64), "{}", &text);
            let said = format!("{words}: {text} {words}");
            prop_assert!(is(&said, number as f64), "{}", &said);
        }
        let wide: String = number.to_string().chars().filter_map(|c| char::from_u32(u32::from(c) + 0xFEE0)).collect();
        prop_assert!(is(&wide, number as f64), "{}", &wide);
    }

    #[test]
    fn a_comma_elsewhere_is_never_left_out(a in 0_u32..100_000, b in "[0-9]{1,2}|[0-9]{4,6}") {
        let joined: f64 = format!("{a}{b}").parse().unwrap();
        let text = format!("{a},{b}");
        prop_assert!(!is(&text, joined));
    }

    #[test]
    fn digits_behind_a_letter_are_no_number(word in "[A-Za-zé]{1,4}", number in 0_u32..10_000) {
        let text = format!("{word}{number}");
        prop_assert_eq!(gives("to_number(completion)", &text, ""), None);
        prop_assert_eq!(gives("length(numbers(completion))", &text, ""), Some(0.0));
    }

    #[test]
    fn any_text_is_read(text in "\\PC{0,24}|[0-9., :/½\\\\eE+-]{0,24}") {
        for expression in ["number(completion, solution)", "relaxed(completion, solution)", "length(numbers(completion))"] {
            prop_assert!(gives(expression, &text, &text).is_some_and(f32::is_finite));
        }
    }
}
