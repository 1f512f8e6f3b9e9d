//! An evaluation that was interrupted, and one that is read again.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Value, json};
use vr1_eval::{Answering, Benchmark, EvalConfig, Extraction, Questions, Summary, evaluate};
use vr1_processor::Processor;
use vr1_reward::{Program, Registry};
use vr1_rollout::{Request, Scripted};

use super::{TINY, config, expected, fixture};

fn questions() -> Questions {
    Benchmark::named("superclevr").unwrap().open(&fixture("superclevr"), None).unwrap()
}

/// Asks with an engine that fails from the answer `fails` on; gives what came of it and how often the engine answered.
fn ask(
    out: Option<&Path>,
    config: &EvalConfig,
    fails: usize,
    reward: Option<&Program>,
) -> (Result<Summary, String>, usize) {
    let processor = Processor::from_dir(Path::new(TINY)).unwrap();
    let (answers, asked) = (expected("superclevr")["completions"].clone(), Cell::new(0));
    let answer = |request: &Request, _: usize| {
        asked.set(asked.get() + 1);
        (asked.get() <= fails).then(|| answers[request.prompt.sample()].as_str().unwrap().to_owned())
    };
    let mut engine = Scripted::new(processor.tokenizer().clone(), answer);
    let mut who = Answering { engine: &mut engine, processor: &processor, model: "script", judge: None, reward };
    let summary = evaluate(&questions(), &mut who, config, out, &mut |_, _| ControlFlow::Continue(()));
    let summary = summary.map(|whole| whole.expect("nothing stops it")).map_err(|error| error.to_string());
    drop(engine);
    (summary, asked.get())
}

fn by_two() -> EvalConfig {
    EvalConfig { batch: 2, ..config(Extraction::Robust) }
}

#[test]
fn an_evaluation_that_is_stopped_goes_on_and_is_the_same() {
    let (out, processor) = (tempfile::tempdir().unwrap(), Processor::from_dir(Path::new(TINY)).unwrap());
    let answers = expected("superclevr")["completions"].clone();
    let said = |request: &Request, _: usize| Some(answers[request.prompt.sample()].as_str().unwrap().to_owned());
    let mut engine = Scripted::new(processor.tokenizer().clone(), said);
    let mut who = Answering { engine: &mut engine, processor: &processor, model: "script", judge: None, reward: None };
    let mut heard = Vec::new();
    let mut stop = |done: usize, all: usize| {
        heard.push((done, all));
        ControlFlow::Break(())
    };
    let stopped = evaluate(&questions(), &mut who, &by_two(), Some(out.path()), &mut stop).unwrap();
    assert_eq!((stopped, heard), (None, vec![(2, 6)]));
    assert!(!out.path().join("summary.json").exists());
    let ((rest, asked), (whole, _)) =
        (ask(Some(out.path()), &by_two(), usize::MAX, None), ask(None, &by_two(), usize::MAX, None));
    assert_eq!((rest.unwrap(), asked), (whole.unwrap(), 4));
}

#[test]
fn an_interrupted_evaluation_has_no_summary_and_goes_on_where_it_was() {
    let out = tempfile::tempdir().unwrap();
    let (failed, _) = ask(Some(out.path()), &by_two(), 3, None);
    assert!(failed.is_err());
    let samples = out.path().join("samples.jsonl");
    let lines = std::fs::read_to_string(&samples).unwrap();
    assert_eq!(lines.lines().count(), 2, "the batches that were whole");
    assert!(!out.path().join("summary.json").exists(), "what is not whole has no score");

    // And in the middle of a line.
    std::fs::write(&samples, &lines[..lines.len() - 9]).unwrap();
    let (summary, asked) = ask(Some(out.path()), &by_two(), usize::MAX, None);
    assert_eq!(asked, 5, "one line is sound");
    let (whole, _) = ask(None, &by_two(), usize::MAX, None);
    assert_eq!(summary.unwrap(), whole.unwrap());
    assert_eq!(std::fs::read_to_string(&samples).unwrap().lines().count(), 6);
}

#[test]
fn a_whole_evaluation_is_read_by_another_rule_without_asking_again() {
    let out = tempfile::tempdir().unwrap();
    let robust = ask(Some(out.path()), &by_two(), usize::MAX, None).0.unwrap();
    let (published, asked) =
        ask(Some(out.path()), &EvalConfig { extraction: Extraction::Published, ..by_two() }, 0, None);
    assert_eq!(asked, 0);
    assert_eq!((robust.score().unwrap().value, published.unwrap().score().unwrap().value), (4.0 / 6.0, 1.0 / 6.0));
    let lines = std::fs::read_to_string(out.path().join("samples.jsonl")).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["marks"]["accuracy"], &last["answer"]), (&json!(0.0), &json!("5")), "the lines are marked anew");
}

#[test]
fn a_systems_own_reward_marks_instead() {
    let out = tempfile::tempdir().unwrap();
    ask(Some(out.path()), &by_two(), usize::MAX, None).0.unwrap();
    let program = Program::builtin("r1v_published", &Registry::default()).unwrap();
    let (summary, asked) = ask(Some(out.path()), &by_two(), 0, Some(&program));
    let summary = summary.unwrap();
    assert_eq!(asked, 0);
    // Math-Verify finds the answers 4, 10, 3 and the last number of the others.
    assert!(summary.metrics.contains_key("format") && summary.metrics["accuracy"].value > 1.0 / 6.0);
}

#[test]
fn another_question_in_a_folder_is_refused_by_the_setting_that_differs() {
    let out = tempfile::tempdir().unwrap();
    ask(Some(out.path()), &by_two(), usize::MAX, None).0.unwrap();
    let other = EvalConfig { prompt: Some("{question} Think.".to_owned()), ..by_two() };
    let error = ask(Some(out.path()), &other, usize::MAX, None).0.unwrap_err();
    assert!(
        error.contains("evaluation.json: it holds an evaluation whose prompt is null, and not \"{question} Think.\""),
        "{error}"
    );
    let samples = out.path().join("samples.jsonl");
    let lines = std::fs::read_to_string(&samples).unwrap().replacen("\"index\":1", "\"index\":77", 1);
    std::fs::write(&samples, lines).unwrap();
    let error = ask(Some(out.path()), &by_two(), usize::MAX, None).0.unwrap_err();
    assert!(error.ends_with("samples.jsonl:2: index: there is no question 77"), "{error}");
}

#[test]
fn fewer_questions_are_the_same_ones_every_time_and_are_counted_as_such() {
    let few = EvalConfig { samples: 3, ..by_two() };
    let (one, asked) = ask(None, &few, usize::MAX, None);
    let one = one.unwrap();
    assert_eq!((asked, one.count, one.of), (3, 3, 6));
    assert_eq!(ask(None, &EvalConfig { batch: 1, ..few }, usize::MAX, None).0.unwrap(), one);
}

#[test]
fn another_prompt_takes_the_place_of_the_benchmarks() {
    let out = tempfile::tempdir().unwrap();
    let other = EvalConfig { prompt: Some("Look. {question} Say {nothing} else.".to_owned()), ..by_two() };
    ask(Some(out.path()), &other, usize::MAX, None).0.unwrap();
    let lines = std::fs::read_to_string(out.path().join("samples.jsonl")).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let prompt = first["prompt"].as_str().unwrap();
    let words = "Look. How many different items are there in the image? Say {nothing} else.";
    assert!(prompt.contains(words) && !prompt.contains("First output"), "{prompt}");
}
