//! Each benchmark, in its published layout, scores as a person reads the answers, and by its published rule as its authors'
//! program scores them: `fixtures/generate.py` wrote the files, the answers, and what they score.

mod boxes;
mod judged;
mod mathematics;
mod options;
mod refusals;
mod taken_up;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vr1_eval::{Answering, Ask, Benchmark, EvalConfig, Extraction, Summary, evaluate};
use vr1_processor::Processor;
use vr1_rollout::{Sampling, Scripted};

pub(crate) const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/assets/tiny");

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// What the generator says of a benchmark.
pub(crate) fn expected(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(&format!("{name}.json"))).unwrap()).unwrap()
}

pub(crate) fn config(extraction: Extraction) -> EvalConfig {
    EvalConfig {
        extraction,
        sampling: Sampling::greedy(2048),
        boxes: vr1_eval::BoxUnits::Original,
        ..EvalConfig::default()
    }
}

/// The marks of a benchmark's answers by the name of the question, and its summary.
pub(crate) fn marked(
    name: &str,
    path: &Path,
    expected: &Value,
    config: &EvalConfig,
    judge: Option<&dyn Ask>,
) -> (Vec<vr1_eval::Record>, Summary) {
    let benchmark = Benchmark::named(name).unwrap();
    let questions = benchmark.open(path, None).unwrap_or_else(|error| panic!("{error}"));
    let processor = Processor::from_dir(Path::new(TINY)).unwrap();
    let answers = expected["completions"].as_object().unwrap().clone();
    assert_eq!(answers.len(), questions.len(), "{name}");
    let answer = move |request: &vr1_rollout::Request, _: usize| {
        answers.get(request.prompt.sample()).map(|text| text.as_str().unwrap().to_owned())
    };
    let mut engine = Scripted::new(processor.tokenizer().clone(), answer);
    let mut who = Answering { engine: &mut engine, processor: &processor, model: "script", judge, reward: None };
    let out = tempfile::tempdir().unwrap();
    let summary = evaluate(&questions, &mut who, config, Some(out.path()), &mut |_, _| ControlFlow::Continue(()))
        .unwrap()
        .unwrap();
    let lines = std::fs::read_to_string(out.path().join("samples.jsonl")).unwrap();
    let records = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let written: Summary = serde_json::from_slice(&std::fs::read(out.path().join("summary.json")).unwrap()).unwrap();
    assert_eq!(written, summary);
    (records, summary)
}

/// Every question's mark is the one that the generator wrote, read either way.
pub(crate) fn agrees(name: &str, path: &Path) -> [Summary; 2] {
    let expected = expected(name);
    [(Extraction::Robust, "right"), (Extraction::Published, "published")].map(|(extraction, key)| {
        let (records, summary) = marked(name, path, &expected, &config(extraction), None);
        for record in &records {
            let (found, wanted) = (record.marks["accuracy"], expected[key][&record.id].as_f64().unwrap());
            assert_eq!(
                found, wanted,
                "{name}, {key}, {}: {:?} read from {:?}",
                record.id, record.answer, record.completion
            );
        }
        let wanted: Vec<f64> = expected[key].as_object().unwrap().values().map(|mark| mark.as_f64().unwrap()).collect();
        let mean = wanted.iter().sum::<f64>() / wanted.len() as f64;
        assert!((summary.metrics["accuracy"].value - mean).abs() < 1e-12);
        assert_eq!((summary.count, summary.of, summary.missing), (wanted.len(), wanted.len(), 0));
        summary
    })
}

/// The groups of a summary have the means that the generator wrote.
pub(crate) fn groups_agree(summary: &Summary, expected: &Value, metric: &str) {
    for (by, parts) in expected["groups"].as_object().unwrap() {
        let found = &summary.groups[by];
        assert_eq!(found.len(), parts.as_object().unwrap().len(), "{by}");
        for (name, mean) in parts.as_object().unwrap() {
            let value = found[name][metric].value;
            assert!((value - mean.as_f64().unwrap()).abs() < 1e-9, "{by} {name}: {value} and {mean}");
        }
    }
}

/// What the user is told is, word by word, what the benchmark asks.
pub(crate) fn prompts_agree(name: &str, path: &Path) {
    let expected = expected(name);
    let (records, _) = marked(name, path, &expected, &config(Extraction::Robust), None);
    for (id, words) in expected["prompts"].as_object().unwrap() {
        let record = records.iter().find(|record| record.id == *id).unwrap();
        let words = words.as_str().unwrap();
        assert!(record.prompt.contains(words), "{name} {id}: {:?} is not in {:?}", words, record.prompt);
    }
}
