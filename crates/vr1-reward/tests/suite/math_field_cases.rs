//! Answers to mathematical questions as people and models write them, and what each is worth: `math(answer, solution)`. Where `VR1_DRAWN`
//! names a folder, the drawn ones are those that `fixtures/generate.py` has put there.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::{Path, PathBuf};

use serde_json::Value;
use vr1_reward::{Fields, Program, Registry, Rollout};

/// Scores an answer with the verifier, the answer taken for itself or looked for in prose.
struct Judge {
    answer: Program,
    prose: Program,
}

impl Judge {
    fn new() -> Self {
        let program = |within: &str| {
            let yaml = format!("terms: {{ m: \"math(completion, solution, within='{within}')\" }}\ntotal: m\n");
            Program::parse(&yaml, &Registry::default()).unwrap()
        };
        Self { answer: program("answer"), prose: program("prose") }
    }

    fn right(&self, gold: &str, answer: &str, within: &str) -> bool {
        let fields = Fields::new();
        let rollout =
            Rollout { prompt: "", completion: answer, solution: gold, tokens: 1, finished: true, fields: &fields };
        let program = if within == "prose" { &self.prose } else { &self.answer };
        program.outcome(&rollout).unwrap().total == Some(1.0)
    }
}

#[test]
fn every_reported_answer_is_worth_what_its_rule_says() {
    let judge = Judge::new();
    let mut wrong = Vec::new();
    for line in include_str!("../fixtures/field_cases/math_pairs.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str().unwrap();
        if judge.right(text("gold"), text("answer"), text("within")) != (case["right"] == 1) {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn drawn_answers_in_prose_are_judged_as_math_verify_judges_them_or_by_the_rule_of_their_form() {
    let judge = Judge::new();
    let mut wrong = Vec::new();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let folder = std::env::var_os("VR1_DRAWN").map_or(here, PathBuf::from);
    let drawn = std::fs::read_to_string(folder.join("math_verify_drawn.jsonl")).unwrap();
    for line in drawn.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str().unwrap();
        let expected = case.get("rule").unwrap_or(&case["equal"]).as_bool().unwrap();
        if judge.right(text("gold"), text("prediction"), text("within")) != expected {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
