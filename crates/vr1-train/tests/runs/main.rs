//! Whole runs of the embedded model, a few small steps each: what a recipe says is what happens.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ahead;
mod benchmarks;
mod beta;
mod checkpoints;
mod derived;
mod draws;
mod evaluation;
mod failures;
mod folders;
mod grounding;
#[path = "../joined/mod.rs"]
mod joined;
mod judged;
mod losses;
mod not_finite;
mod own;
mod pairs;
mod policy;
mod rates;
mod refused;
mod rendered;
mod replay;
mod scripted;
mod stages;
mod stop;
mod tools;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::Tensor;
use vr1_run::{Show, StepMetrics, read_metrics};
use vr1_train::{Recipe, RunOptions, Trainer};
use vr1_vlm::Backbone;

/// Questions without pictures, and what every run here has in common. The reward is of the completion's words alone, and
/// hardly two completions have the same.
const TOP: &str = "
system: runs
prompt: { text: '{{ question }}' }
reward: { terms: { accuracy: 'length(completion) / 10', vowels: \"count(find_all(completion, '[aeiou]'), x => true)\" }, total: accuracy + vowels }
optimizer: { learning_rate: 1.0e-3, schedule: constant }
evaluation: { samples: 2, max_completion_tokens: 3, sets: { held_out: { kind: jsonl, path: test.jsonl } } }
";

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/assets/tiny")
}

/// A JSONL file of questions after colours.
fn questions(dir: &Path, name: &str, ids: impl IntoIterator<Item = String>) {
    let colours = ["red", "green", "blue", "grey", "black", "white", "pink"];
    let row = |(i, id): (usize, String)| {
        let (asked, answer) = (format!("What is number {i}?"), colours[i % colours.len()]);
        let said = serde_json::json!([{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]);
        serde_json::json!({"id": id, "conversations": said}).to_string() + "\n"
    };
    let rows: String = ids.into_iter().enumerate().map(row).collect();
    std::fs::write(dir.join(name), rows).unwrap();
}

/// A picture of one colour.
fn picture(dir: &Path, name: &str, colour: [u8; 3]) {
    image::RgbImage::from_pixel(48, 48, image::Rgb(colour)).save(dir.join(name)).unwrap();
}

/// A folder with questions to learn from, `train.jsonl`, and some that are held out, `test.jsonl`.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    questions(dir.path(), "train.jsonl", (0..12).map(|i| format!("train {i}")));
    questions(dir.path(), "test.jsonl", (0..4).map(|i| format!("test {i}")));
    dir
}

/// The recipe of [`TOP`] and `text` with other values for some keys, or what is wrong with it.
fn read(dir: &Path, text: &str, overrides: &[&str]) -> vr1_train::Result<Recipe> {
    let path = dir.join("recipe.yaml");
    std::fs::write(&path, format!("{TOP}\nmodel: {:?}\n{text}", tiny())).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|&one| one.to_owned()).collect();
    Recipe::load(&path, &overrides)
}

fn recipe(dir: &Path, text: &str) -> Recipe {
    read(dir, text, &[]).unwrap()
}

fn options(out: &Path) -> RunOptions {
    RunOptions { show: Show::Quiet, ..RunOptions::new(out) }
}

fn trainer(recipe: &Recipe, out: &Path) -> Trainer {
    Trainer::new(recipe.clone(), options(out)).unwrap()
}

/// The rollouts of a step as they stand in the run's folder, a line each.
fn rows_of(out: &Path, step: u64) -> String {
    let lines = vr1_run::lines(&out.join(format!("rollouts/step-{step}.jsonl.zst"))).unwrap();
    lines.map(|line| String::from_utf8(line.unwrap()).unwrap() + "\n").collect()
}

/// So many steps of a run.
fn steps(trainer: &mut Trainer, count: u64) -> Vec<StepMetrics> {
    (0..count).map(|_| trainer.step().unwrap()).collect()
}

/// The weights of a model, as they are now.
fn weights(model: &dyn Backbone) -> BTreeMap<String, Tensor> {
    model.parameters().iter().map(|(name, tensor)| (name.to_owned(), tensor.detach().copy())).collect()
}

/// The first weight that is not the same to the last bit.
fn moved<'a>(a: &'a BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) -> Option<&'a str> {
    assert_eq!(a.len(), b.len());
    a.iter().find(|(name, tensor)| !tensor.equal(&b[*name])).map(|(name, _)| name.as_str())
}

/// With this, a step is near proportional to its gradient: two that differ by rounding alone stay near each other.
const PROPORTIONAL: &str = "optimizer.epsilon=1";

/// The greatest difference between two lists of weights.
fn distance(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) -> f64 {
    a.iter().map(|(name, tensor)| (tensor - &b[name]).abs().max().double_value(&[])).fold(0.0, f64::max)
}

/// A run's numbers without its times, a line a step.
fn rows(out: &Path) -> Vec<String> {
    let mut rows = read_metrics(&out.join("metrics.jsonl")).unwrap();
    rows.iter_mut().for_each(|row| row.values.retain(|name, _| !name.contains("second") && name != "memory_gb"));
    rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect()
}

/// A run that is stopped after any step, and killed in the middle of the next, is the run that did not stop.
fn goes_on_from_any_step(dir: &Path, recipe: &Recipe) {
    let whole = dir.join("whole");
    let mut once = trainer(recipe, &whole);
    let all = recipe.all_steps();
    steps(&mut once, all);
    let (expected, learnt) = (rows(&whole), weights(once.model()));
    for stop in 1..all {
        let out = dir.join(format!("stopped-{stop}"));
        let mut first = trainer(recipe, &out);
        steps(&mut first, stop);
        first.checkpoint().unwrap();
        first.step().unwrap(); // after the last checkpoint, so it is taken again
        drop(first);
        let mut second = Trainer::resume(recipe.clone(), options(&out)).unwrap();
        steps(&mut second, all - stop);
        assert_eq!(rows(&out), expected, "stopped after {stop}");
        assert_eq!(moved(&learnt, &weights(second.model())), None, "stopped after {stop}");
    }
}
