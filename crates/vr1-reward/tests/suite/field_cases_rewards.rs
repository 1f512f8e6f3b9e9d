//! Answers as people and models write them, each with what it is worth; a case stands for the rule of its kind.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value as Json;
use vr1_reward::{Outcome, Program, Record, Registry, Result};

/// Whether an outcome is what a case expects: terms, `"error"`, or one of a list of these.
fn holds(expected: &Json, outcome: &Result<Outcome>) -> bool {
    match (expected, outcome) {
        (Json::Array(several), _) => several.iter().any(|one| holds(one, outcome)),
        (Json::String(word), _) => word == "error" && outcome.is_err(),
        (Json::Object(terms), Ok(outcome)) => terms.iter().all(|(name, value)| {
            let found = outcome.terms.iter().find(|(known, _)| known == name).and_then(|(_, value)| *value);
            found.is_some_and(|found| (f64::from(found) - value.as_f64().unwrap()).abs() < 1e-3)
        }),
        _ => false,
    }
}

#[test]
fn what_people_write_is_worth_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/field_cases/rewards");
    let (mut cases, mut failed) = (0, String::new());
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let program = Program::parse(&fs::read_to_string(&path).unwrap(), &Registry::default()).unwrap();
        let rows = fs::read_to_string(path.with_extension("jsonl")).unwrap();
        let records: Vec<Result<Record>> = rows.lines().map(Record::parse).collect();
        for (record, outcome) in records.iter().zip(program.score_records(&records, 1)) {
            cases += 1;
            let record = record.as_ref().unwrap();
            let field = |name: &str| record.fields[name].to_string();
            if !holds(&record.fields["expected"], &outcome) {
                let (id, kind, expected) = (field("id"), field("kind"), field("expected"));
                let said: String = record.completion.chars().take(120).collect();
                let solution: String = record.solution.chars().take(60).collect();
                writeln!(failed, "{name} {id} {kind}: {said:?} for {solution:?} gives {outcome:?}, not {expected}")
                    .unwrap();
            }
        }
    }
    assert!(cases > 100, "{cases} cases in {}", folder.display());
    assert!(failed.is_empty(), "{} of {cases} cases:\n{failed}", failed.lines().count());
}
