use proptest::prelude::*;

use super::gives;

/// Verifiers that compare texts.
const COMPARING: [&str; 7] = ["exact", "edit_distance", "anls", "relaxed", "levenshtein", "all_match", "math"];

proptest! {
    #[test]
    fn nothing_earns_nothing(space in "[ \\n\\t]{0,3}", more in "[ \\n\\t]{0,3}", text in "[a-z0-9]{1,6}") {
        for verifier in COMPARING {
            let score = |answer: &str, solution: &str| gives(&format!("{verifier}(completion, solution)"), answer, solution);
            prop_assert_eq!(score(&space, &more), Some(0.0), "{}", verifier);
            prop_assert_eq!(score(&space, &text), Some(0.0), "{}", verifier);
            prop_assert_eq!(score(&text, &space), Some(0.0), "{}", verifier);
            prop_assert_eq!(score(&space, &format!("<answer>{more}</answer>")), Some(0.0), "{}", verifier);
            prop_assert_eq!(score(&text, &text), Some(1.0), "{}", verifier);
        }
    }
}

#[test]
fn an_empty_one_of_several_solutions_earns_nothing() {
    for verifier in ["edit_distance", "anls", "relaxed", "levenshtein"] {
        assert_eq!(gives(&format!("{verifier}(completion, fields.golds)"), " ", ""), Some(0.0));
        assert_eq!(gives(&format!("{verifier}(completion, fields.golds)"), "cat", ""), Some(1.0));
    }
}
