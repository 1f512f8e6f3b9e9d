//! Which samples are asked, and how often.

use std::collections::{BTreeMap as Map, BTreeSet};

use vr1_curriculum::Curriculum;
use vr1_rollout::Request;
use vr1_train::{Grpo, ObjectiveConfig};

use super::scripted::{SAID, grpo, scripted};
use super::*;

const END: &str = "<|im_end|>";

/// The rollouts of a step.
fn rollouts(out: &Path, step: u64) -> Vec<serde_json::Value> {
    let text = rows_of(out, step);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Samples and completions of a run, in order.
fn said(out: &Path, steps: u64) -> Vec<(String, String)> {
    let of = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
    (1..=steps).flat_map(|step| rollouts(out, step)).map(|row| (of(&row, "sample"), of(&row, "completion"))).collect()
}

#[test]
fn each_sample_comes_once_an_epoch_in_another_order_with_other_answers() {
    let dir = folder();
    questions(dir.path(), "train.jsonl", (0..6).map(|i| format!("train {i}")));
    let still = ["optimizer.learning_rate=1e-30", "objective.sampling.temperature=3"];
    let recipe = read(dir.path(), &grpo(6, ""), &still).unwrap();
    let out = dir.path().join("run");
    steps(&mut trainer(&recipe, &out), 6);
    let said = said(&out, 6);
    assert_eq!(said.len(), 6 * 8, "four samples a step, two answers each");
    let asked: Vec<&String> = said.iter().step_by(2).map(|(sample, _)| sample).collect();
    let epochs: Vec<&[&String]> = asked.chunks(6).collect();
    for epoch in &epochs {
        assert_eq!(epoch.iter().collect::<BTreeSet<_>>().len(), 6, "{epoch:?}");
    }
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2] && epochs[2] != epochs[3]);
    let mut answers: Map<&String, Vec<&String>> = Map::new();
    said.iter().for_each(|(sample, words)| answers.entry(sample).or_default().push(words));
    for (sample, words) in answers {
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len(), "{sample}: {words:?}");
    }
}

#[test]
fn a_set_smaller_than_a_step_is_gone_through_more_than_once() {
    let dir = folder();
    questions(dir.path(), "train.jsonl", (0..3).map(|i| format!("train {i}")));
    let recipe = read(dir.path(), &grpo(2, ""), &["objective.sampling.temperature=3"]).unwrap();
    let out = dir.path().join("run");
    steps(&mut trainer(&recipe, &out), 2);
    let said = said(&out, 1);
    let asked: Vec<&String> = said.iter().step_by(2).map(|(sample, _)| sample).collect();
    assert_eq!(asked[..3].iter().collect::<BTreeSet<_>>().len(), 3, "{asked:?}");
    let twice: Vec<&String> = said.iter().filter(|(sample, _)| *sample == *asked[3]).map(|(_, words)| words).collect();
    assert_eq!(twice.iter().collect::<BTreeSet<_>>().len(), 4, "in one step, and yet other answers: {twice:?}");
}

#[test]
fn a_users_ids_are_names_and_nothing_else() {
    let learnt = |id: fn(usize) -> String| {
        let dir = folder();
        questions(dir.path(), "train.jsonl", (0..6).map(id));
        let recipe = recipe(dir.path(), &grpo(3, ""));
        let out = dir.path().join("run");
        let mut run = trainer(&recipe, &out);
        steps(&mut run, 3);
        (rows(&out), weights(run.model()))
    };
    let (distinct, own) = learnt(|i| format!("{i}"));
    let (same, equal) = learnt(|_| "all the same".to_owned());
    assert_eq!(distinct, same);
    assert_eq!(moved(&own, &equal), None);
}

/// Two sources, of which the second is the curriculum's second stage.
fn two_sources(steps: u64, curriculum: &str) -> String {
    let source = |stage: usize, name: &str| format!("{{ stage: {stage}, source: {{ kind: jsonl, path: {name} }} }}");
    let sources = format!("sources: [{}, {}]", source(0, "train.jsonl"), source(1, "test.jsonl"));
    let text = grpo(steps, &format!("curriculum: {curriculum}"));
    text.replace("train: { kind: jsonl, path: train.jsonl }", &sources)
}

/// The share of a run's groups that each source gave, in parts of the run.
fn shares(out: &Path, steps: std::ops::RangeInclusive<u64>) -> f64 {
    let asked: Vec<_> = steps.flat_map(|step| rollouts(out, step)).collect();
    let second = asked.iter().filter(|row| row["sample"].as_str().unwrap().starts_with("test")).count();
    second as f64 / asked.len() as f64
}

#[test]
fn a_curriculum_moves_to_where_about_half_is_solved() {
    let dir = folder();
    // The first stage is always solved, of the second one answer in two.
    let answer = |request: &Request, completion: usize| {
        let solved = request.key.dataset == 0 || completion == 0;
        Some(format!("{}{END}", if solved { 1 } else { 0 }))
    };
    let text = two_sources(12, "{ kind: adaptive, width: 0.1, floor: 0.01 }");
    let recipe = read(dir.path(), &text, &SAID).unwrap();
    let out = dir.path().join("run");
    let mut run = scripted(&recipe, &out, answer);
    steps(&mut run, 12);
    assert!(
        shares(&out, 1..=2) < 0.9 && shares(&out, 5..=12) > 0.9,
        "{} {}",
        shares(&out, 1..=2),
        shares(&out, 5..=12)
    );

    // What it has seen is in the checkpoint.
    let stopped = dir.path().join("stopped");
    let mut first = scripted(&recipe, &stopped, answer);
    steps(&mut first, 4);
    first.checkpoint().unwrap();
    drop(first);
    let mut second = Trainer::resume(recipe, options(&stopped)).unwrap();
    let engine = vr1_rollout::Scripted::new(second.processor().tokenizer().clone(), answer);
    second.set_engine(Box::new(engine)).unwrap();
    steps(&mut second, 8);
    assert_eq!(said(&stopped, 12), said(&out, 12));
}

#[test]
fn a_curriculum_of_stages_asks_one_after_the_other() {
    let dir = folder();
    let recipe = recipe(dir.path(), &two_sources(4, "{ kind: staged }"));
    let out = dir.path().join("run");
    steps(&mut trainer(&recipe, &out), 4);
    assert_eq!((shares(&out, 1..=2), shares(&out, 3..=4)), (0.0, 1.0));
}

#[test]
fn sources_of_one_stage_are_drawn_as_they_weigh() {
    let dir = folder();
    let text = two_sources(10, "{ kind: fixed }").replace("stage: 1, source", "weight: 9, source");
    let recipe = read(dir.path(), &text, &SAID).unwrap();
    let out = dir.path().join("run");
    let mut run = scripted(&recipe, &out, |_, completion| Some(format!("{completion}{END}")));
    steps(&mut run, 10);
    let share = shares(&out, 1..=10);
    assert!((0.8..1.0).contains(&share), "{share}");
}

#[test]
fn a_stage_without_a_source_and_a_set_without_a_sample_are_refused() {
    let dir = folder();
    let text = two_sources(2, "{ kind: staged }").replace("stage: 1, source", "stage: 2, source");
    let error = Trainer::new(recipe(dir.path(), &text), options(&dir.path().join("run"))).unwrap_err().to_string();
    assert!(error.contains("stage 1 of 3 has no source"), "{error}");
    let none = "train: { kind: scenes, task: counting, split: train, samples: 0 }";
    let text = grpo(2, "").replace("train: { kind: jsonl, path: train.jsonl }", none);
    let error = Trainer::new(recipe(dir.path(), &text), options(&dir.path().join("run"))).unwrap_err().to_string();
    assert!(error.contains("has no samples"), "{error}");
    let text = grpo(2, "").replace("path: train.jsonl", "path: empty.jsonl");
    std::fs::write(dir.path().join("empty.jsonl"), "").unwrap();
    let error = Trainer::new(recipe(dir.path(), &text), options(&dir.path().join("run"))).unwrap_err().to_string();
    assert!(error.contains("empty.jsonl"), "{error}");
}

#[test]
fn a_curriculum_that_leaves_nothing_to_draw_stops_the_run() {
    struct Nothing(Vec<f64>);
    impl Curriculum for Nothing {
        fn weights(&mut self, _step: u64) -> Vec<f64> {
            self.0.clone()
        }
    }
    let dir = folder();
    for (i, weights) in [vec![0.0, 0.0], vec![f64::NAN, -1.0], Vec::new()].into_iter().enumerate() {
        let recipe = recipe(dir.path(), &two_sources(2, "{ kind: fixed }"));
        let Some(ObjectiveConfig::Grpo(config)) = recipe.objective.clone() else { panic!("a GRPO recipe") };
        let mut run = trainer(&recipe, &dir.path().join(format!("run-{i}")));
        let grpo = Grpo::new(&config, &run.setting()).unwrap().with_curriculum(Box::new(Nothing(weights)));
        run.set_objective(Box::new(grpo));
        let error = run.step().unwrap_err().to_string();
        assert!(error.contains("the curriculum leaves nothing to draw from"), "{error}");
    }
}

#[test]
fn documents_are_drawn_as_samples_are() {
    let dir = folder();
    questions(dir.path(), "train.jsonl", (0..4).map(|i| format!("train {i}")));
    let document = "{ source: { kind: jsonl, path: train.jsonl }, text: '{{ question }}', target: '{{ solution }}' }";
    let text = format!("steps: 3\nobjective: {{ kind: sft, documents_per_step: 4, documents: [{document}] }}");
    let told = steps(&mut trainer(&recipe(dir.path(), &text), &dir.path().join("run")), 3);
    // Each step is the whole set, in whatever order.
    let tokens: Vec<_> = told.iter().map(|row| row.get("tokens")).collect();
    assert!(tokens[0].is_some() && tokens.iter().all(|count| *count == tokens[0]), "{tokens:?}");
}
