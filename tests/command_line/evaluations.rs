//! `vr1 eval`: a benchmark over the embedded model.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{TINY, lines, vr1};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../vr1-eval/tests/fixtures");

fn evaluation(out: &Path, more: &[&str]) -> Value {
    let data = format!("{FIXTURES}/easy-vqa");
    let out = out.to_str().unwrap();
    let asked = ["eval", "--model", TINY, "--benchmark", "easy-vqa", "--data", &data, "--out", out, "--json"];
    let mut found = lines(&[&asked[..], &["--max-new-tokens", "12"], more].concat());
    assert_eq!(found.len(), 1, "one line of JSON");
    found.remove(0)
}

fn samples(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("samples.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_benchmark_is_asked_and_its_answers_are_kept_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let summary = evaluation(folder.path(), &[]);
    assert_eq!((&summary["benchmark"], &summary["count"], &summary["of"]), (&"easy-vqa".into(), &4.into(), &4.into()));
    let answered = samples(folder.path());
    let right: f64 = answered.iter().map(|line| line["marks"]["accuracy"].as_f64().unwrap()).sum();
    let score = &summary["metrics"]["accuracy"];
    assert_eq!(score["value"].as_f64().unwrap(), right / 4.0);
    assert!(score["low"].as_f64() <= score["value"].as_f64() && score["value"].as_f64() <= score["high"].as_f64());
    assert_eq!(summary["groups"]["kind"]["exists"]["accuracy"]["count"], 2);
    assert!(
        answered[0]["prompt"].as_str().unwrap().contains("what shape is it? Choose between the following options: ")
    );
    let written: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("summary.json")).unwrap()).unwrap();
    assert_eq!(written, summary);

    // What was said stays, and is marked by another rule.
    evaluation(folder.path(), &["--extraction", "published"]);
    let again = samples(folder.path());
    for (one, other) in answered.iter().zip(&again) {
        assert_eq!((&one["completion"], &one["tokens"]), (&other["completion"], &other["tokens"]));
        assert!(other["how"] == "published");
    }
    let refused = vr1(&[
        "eval",
        "--model",
        TINY,
        "--benchmark",
        "easy-vqa",
        "--data",
        &format!("{FIXTURES}/easy-vqa"),
        "--out",
        folder.path().to_str().unwrap(),
        "--max-new-tokens",
        "9",
    ]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("evaluation.json: it holds an evaluation whose sampling is"), "{said}");
}

#[test]
fn what_cannot_be_evaluated_is_said_before_weights_are_read() {
    let said = |arguments: &[&str]| {
        let output = vr1(&[&["eval", "--model", TINY, "--max-new-tokens", "4"], arguments].concat());
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let data = format!("{FIXTURES}/geoqa");
    let error = said(&["--benchmark", "geo-qa", "--data", &data]);
    assert!(
        error.contains("there is no benchmark \"geo-qa\"; there are cv-bench, ") && error.contains("geoqa"),
        "{error}"
    );
    let error = said(&["--benchmark", "mmstar", "--data", &data]);
    assert!(error.contains("geoqa: none of its files is there: mmstar.parquet"), "{error}");
    let error = said(&["--benchmark", "geoqa", "--data", &data, "--extraction", "robsut"]);
    assert!(error.contains("--extraction"), "{error}");
    let error = said(&["--benchmark", "geoqa", "--data", &data, "--prompt", "Think."]);
    assert!(error.contains("--prompt: {question} does not stand in it"), "{error}");
    let error = said(&["--benchmark", "vrc-bench", "--data", &format!("{FIXTURES}/vrc-bench")]);
    assert!(error.contains("no judge is given"), "{error}");
    let listed = vr1(&["eval", "--list"]);
    assert!(listed.status.success() && String::from_utf8(listed.stdout).unwrap().lines().count() == 15);
}
