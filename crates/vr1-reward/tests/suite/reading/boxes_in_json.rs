use proptest::prelude::*;
use serde_json::json;

use super::gives;

const DOG: &str = r#"[{"bbox_2d": [10, 20, 110, 220], "label": "dog"}]"#;

fn map(text: &str) -> Option<f32> {
    gives("map(completion, solution)", text, DOG)
}

#[test]
fn cut_off_json_is_none_and_the_first_whole_one_counts() {
    assert_eq!(map(&format!("see [this {DOG}]")), Some(1.0));
    assert_eq!(map(&format!("{DOG}, or [] if it is none")), Some(1.0));
    assert_eq!(map(&format!("[] and {DOG}")), Some(0.0));
    let cut = format!("{}, {{\"bbox_2d\": [1, 2", &DOG[..DOG.len() - 1]);
    assert_eq!(map(&cut), Some(0.0), "{cut}");
}

#[test]
fn brackets_without_end_are_read_in_time() {
    let deep = format!("{}x", "[".repeat(120));
    for text in [
        deep.repeat(100),
        "[".repeat(200_000),
        "[1,".repeat(100_000),
        "{\"a\":[".repeat(50_000),
        "[[1]x".repeat(50_000),
    ] {
        assert_eq!(map(&text), Some(0.0), "{:?}", &text[..10]);
    }
}

proptest! {
    #[test]
    fn brackets_in_the_words_around_do_not_spoil_the_json(
        before in "([a-z ]|\\[[a-z]+\\]|\\{[a-z]+\\}){0,6}",
        after in "([a-z ]|\\[[a-z]+\\]|\\{[a-z]+\\}|[\\[\\]{}]){0,6}",
        label in "[a-z \\[\\]{}]{1,8}",
    ) {
        // `[true]` and its like are JSON themselves.
        prop_assume!(!["true", "false", "null"].iter().any(|word| before.contains(word)));
        let json = json!([{"bbox_2d": [1, 2, 3, 4], "label": label}]).to_string();
        let text = format!("{before} {json} {after}");
        prop_assert_eq!(gives("map(completion, solution)", &text, &json), Some(1.0), "{}", &text);
    }

    #[test]
    fn any_text_is_read(text in "\\PC{0,24}|[\\[\\]{}\",:0-9a ]{0,40}") {
        prop_assert!(map(&text).is_some_and(f32::is_finite));
    }
}
