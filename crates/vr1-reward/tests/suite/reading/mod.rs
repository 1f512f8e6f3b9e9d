//! What a text says, as verifiers and functions of the language read it: options, numbers, boxes, yes or no, JSON, tags.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod boxes_in_json;
mod empty;
mod numbers;
mod options;
mod rectangles;
mod tags;
mod yes_or_no;

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::json;
use vr1_reward::{Fields, Program, Registry, Rollout};

thread_local! {
    static PROGRAMS: RefCell<HashMap<String, Program>> = RefCell::default();
}

/// What an expression gives on a completion; nothing where its value is missing.
#[track_caller]
fn gives(expression: &str, completion: &str, solution: &str) -> Option<f32> {
    let fields: Fields = serde_json::from_value(json!({
        "golds": ["", "cat"],
        "flat": [1, 2, 3, 4],
        "points": [[1, 2], [3, 4]],
        "record": { "bbox_2d": "(1,2),(3,4)" },
        "words": "<|box_start|>(1,2),(3,4)<|box_end|>",
    }))
    .unwrap();
    PROGRAMS.with_borrow_mut(|programs| {
        let program = programs.entry(expression.to_owned()).or_insert_with(|| {
            let total = "exact(completion, solution)";
            let yaml = serde_yaml::to_string(&json!({ "terms": {}, "metrics": { "x": expression }, "total": total }));
            Program::parse(&yaml.unwrap(), &Registry::default()).unwrap()
        });
        let rollout = Rollout { prompt: "", completion, solution, tokens: 1, finished: true, fields: &fields };
        program.terms(&rollout).unwrap()[0].1
    })
}
