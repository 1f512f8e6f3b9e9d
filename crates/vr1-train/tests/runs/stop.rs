//! A run that its own recipe ends early.

use super::checkpoints::{EVALUATED, SFT, engine, kept};
use super::*;

const STOP: &str = "stop={ metric: held_out/accuracy, patience: 2 }";

fn stopping(dir: &Path, more: &[&str]) -> Recipe {
    let overrides: Vec<&str> = EVALUATED.iter().chain(&[STOP]).chain(more).copied().collect();
    read(dir, SFT, &overrides).unwrap()
}

/// Before the first of six steps, and after each until the run ends: the best is after the second.
const RIGHT: [usize; 5] = [0, 1, 3, 2, 3];

#[test]
fn a_run_ends_where_its_score_gets_no_better_and_keeps_its_best() {
    let dir = folder();
    let out = dir.path().join("run");
    let mut run = trainer(&stopping(dir.path(), &["keep_checkpoints=1", "save_every_steps=0"]), &out);
    // That there are no more answers says that there is no further evaluation.
    run.set_engine(engine(&run, &RIGHT)).unwrap();
    let summary = run.run().unwrap();
    assert_eq!((summary.steps, summary.after["accuracy"]), (4, 0.75));
    let why = summary.stopped.unwrap();
    assert!(why.contains("after step 4") && why.contains("held_out/accuracy above the 0.75 of step 2"), "{why}");
    assert_eq!(kept(&out), [2, 4]);
    assert!(out.join("report.html").is_file() && out.join("summary.json").is_file());
}

#[test]
fn a_run_that_was_taken_up_again_ends_at_the_same_step() {
    let dir = folder();
    let recipe = stopping(dir.path(), &["evaluation.samples=4"]);
    let told = |summary: vr1_run::Summary| (summary.after, summary.steps, summary.stopped);
    let whole = dir.path().join("whole");
    let mut once = trainer(&recipe, &whole);
    once.set_engine(engine(&once, &RIGHT)).unwrap();
    let expected = told(once.run().unwrap());
    for stop in 1..4 {
        let out = dir.path().join(format!("stopped-{stop}"));
        let mut first = trainer(&recipe, &out);
        first.set_engine(engine(&first, &RIGHT[1..])).unwrap();
        steps(&mut first, stop);
        drop(first);
        let mut second = Trainer::resume(recipe.clone(), options(&out)).unwrap();
        let left: &'static [usize] = &RIGHT[1 + stop as usize..];
        second.set_engine(engine(&second, left)).unwrap();
        assert_eq!(told(second.run().unwrap()), expected, "stopped after {stop}");
        assert_eq!(rows(&out), rows(&whole), "stopped after {stop}");
        assert_eq!(kept(&out), kept(&whole));
    }
    // One that has ended gives its summary, and one that was killed before it was written writes the same.
    assert_eq!(told(Trainer::open(recipe.clone(), options(&whole)).unwrap().run().unwrap()), expected);
    std::fs::remove_file(whole.join("summary.json")).unwrap();
    assert_eq!(told(Trainer::open(recipe, options(&whole)).unwrap().run().unwrap()), expected);
    assert_eq!(rows(&whole).len(), 4);
}

#[test]
fn what_cannot_end_a_run_is_refused() {
    let dir = folder();
    let refused = |overrides: &[&str], words: &str| {
        let error = read(dir.path(), SFT, overrides).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    let every = "evaluation.every_steps=1";
    refused(&[STOP], "stop: needs evaluations");
    refused(&[every, "stop={ metric: held_out/accuracy, patience: 0 }"], "stop.patience: must be at least 1");
    refused(&[every, "stop={ metric: held_out/accuracy, patience: 1, min_delta: .nan }"], "stop.min_delta");
    refused(&[every, "stop={ metric: held_out/accuracy, patience: 1, mode: up }"], "mode");
    refused(&[every, STOP, "keep_best=held_out/format"], "keep_best: has no place beside `stop`");
    let recipe = read(dir.path(), SFT, &[every, "stop={ metric: accuracies, patience: 1 }"]).unwrap();
    let error = Trainer::new(recipe, options(&dir.path().join("run"))).unwrap_err().to_string();
    assert!(error.contains("stop.metric: no score \"accuracies\" among accuracy, held_out/accuracy"), "{error}");
}
