use proptest::prelude::*;

use super::gives;

/// `yes` or `no`, where the text says one of them.
fn yes_no(text: &str) -> Option<&'static str> {
    let mut said =
        ["yes", "no"].into_iter().filter(|word| gives("yes_no(completion, solution)", text, word) == Some(1.0));
    let first = said.next();
    assert_eq!(said.next(), None, "{text:?} says both");
    first
}

#[test]
fn the_first_word_with_a_mark_is_the_answer() {
    for text in [
        "Yes, there is no doubt",
        "Yes: there is no sign.",
        "YES. No dog is here.",
        "**Yes**, no dog",
        "\"Yes\" - no doubt",
        "Yes – there is no dog",
        "Yes — no dog",
        "Yes - no dog",
        "Yes\nno dog",
        "Ｙｅｓ，no doubt",
        "yes; no dog",
        "Yes! No dog.",
        "Yes (no dog)",
        "yes",
        "I say yes",
    ] {
        assert_eq!(yes_no(text), Some("yes"), "{text:?}");
    }
    for text in
        ["yes or no", "yes/no", "yes and no", "Yes no", "know", "", "Not yes, no", "yes-no", "Yes? No?", "yesno"]
    {
        assert_eq!(yes_no(text), None, "{text:?}");
    }
    assert_eq!(yes_no("No, it is yes"), Some("no"));
}

proptest! {
    #[test]
    fn nothing_behind_the_first_word_and_its_mark_counts(mark in "[.,:;!]", text in "[A-Za-z ,.]{0,30}") {
        prop_assert_eq!(yes_no(&format!("Yes{mark} {text}")), Some("yes"));
        prop_assert_eq!(yes_no(&format!("no{mark} {text}")), Some("no"));
    }

    #[test]
    fn any_text_is_read(text in "\\PC{0,24}|(yes|no|[ ,.*-]){0,6}") {
        let _ = yes_no(&text);
    }
}
