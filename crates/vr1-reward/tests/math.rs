//! Math-Verify's own cases, and what must hold beside them.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::time::{Duration, Instant};

use serde_json::Value;
use vr1_reward::{MathConfig, MathKinds, SetRule, math_equal};

fn kinds(config: &Value) -> MathKinds {
    let names: Vec<&str> = config.as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    match names.as_slice() {
        ["LatexExtractionConfig"] => MathKinds::Latex,
        ["ExprExtractionConfig"] => MathKinds::Plain,
        _ => MathKinds::Both,
    }
}

#[test]
fn math_verifys_own_cases_come_out_the_same() {
    let cases = include_str!("fixtures/math_verify_cases.jsonl");
    let (mut right, mut accepted, mut wrong) = (0, 0, Vec::new());
    for (number, line) in cases.lines().enumerate() {
        let case: Value = serde_json::from_str(line).unwrap();
        let args = &case["verify_args"];
        let either = args["allow_set_relation_comp"].as_bool().unwrap_or(false);
        let config = MathConfig {
            gold: kinds(&case["gold_config"]),
            answer: kinds(&case["pred_config"]),
            decimals: args["float_rounding"].as_u64().unwrap_or(6) as u32,
            sets: if either { SetRule::EitherMayBeSet } else { SetRule::AnswerMayBeSet },
        };
        let (gold, pred) = (case["gold"].as_str().unwrap(), case["pred"].as_str().unwrap());
        let start = Instant::now();
        let found = math_equal(gold, pred, config);
        assert!(
            start.elapsed() < Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 50 }),
            "case {number}"
        );
        let expected = case["result"].as_bool().unwrap();
        if found == expected {
            right += 1;
        } else {
            accepted += usize::from(found);
            wrong.push(format!("{number}: {expected} {gold:?} | {pred:?}"));
        }
    }
    println!("{right} right, {accepted} accepted falsely\n{}", wrong.join("\n"));
    assert!(right >= 130, "{right} of 138:\n{}", wrong.join("\n"));
    assert!(accepted <= 2, "{accepted} accepted falsely:\n{}", wrong.join("\n"));
}
