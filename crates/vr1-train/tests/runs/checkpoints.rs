//! Which checkpoints stay.

use std::cell::Cell;
use std::rc::Rc;

use vr1_rollout::Scripted;

use super::*;

pub(crate) const SFT: &str = "
steps: 6
save_every_steps: 1
objective:
  kind: sft
  documents_per_step: 1
  documents: [{ source: { kind: jsonl, path: train.jsonl }, text: '{{ question }}', target: '{{ solution }}' }]
";

pub(crate) const EVALUATED: [&str; 3] = [
    "reward={ terms: { accuracy: 'to_number(first(words(completion)))' }, total: accuracy }",
    "evaluation.samples=4",
    "evaluation.every_steps=1",
];

/// The steps whose checkpoints are there.
pub(crate) fn kept(out: &Path) -> Vec<u64> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let steps = std::fs::read_dir(out.join("checkpoints")).unwrap().map(name);
    let mut steps: Vec<u64> = steps.map(|name| name.strip_prefix("step-").unwrap().parse().unwrap()).collect();
    steps.sort_unstable();
    steps
}

/// A run whose evaluations find so many of four answers right, one after the other.
fn run(dir: &Path, right: &'static [usize], overrides: &[&str]) -> Vec<u64> {
    let overrides: Vec<&str> = EVALUATED.iter().chain(overrides).copied().collect();
    let recipe = read(dir, SFT, &overrides).unwrap();
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("run");
    let mut run = trainer(&recipe, &out);
    run.set_engine(engine(&run, right)).unwrap();
    run.run().unwrap();
    kept(&out)
}

pub(crate) fn engine(run: &Trainer, right: &'static [usize]) -> Box<dyn vr1_rollout::Engine> {
    let asked = Rc::new(Cell::new(0));
    Box::new(Scripted::new(run.processor().tokenizer().clone(), move |_, _| {
        let at = asked.replace(asked.get() + 1);
        Some(if at % 4 < right[at / 4] { "1".to_owned() } else { "0".to_owned() })
    }))
}

/// Before, after each of six steps but the last, and after it.
const RIGHT: [usize; 7] = [4, 1, 3, 2, 1, 0, 4];

#[test]
fn the_latest_two_are_kept_unless_it_is_said_how_many() {
    let dir = folder();
    assert_eq!(run(dir.path(), &RIGHT, &[]), [5, 6]);
    assert_eq!(run(dir.path(), &RIGHT, &["keep_checkpoints=0"]), [1, 2, 3, 4, 5, 6]);
    assert_eq!(run(dir.path(), &RIGHT, &["save_every_steps=2"]), [4, 6]);
    assert_eq!(run(dir.path(), &RIGHT, &["save_every_steps=0"]), [6]);
}

#[test]
fn the_latest_are_kept() {
    let dir = folder();
    assert_eq!(run(dir.path(), &RIGHT, &["keep_checkpoints=2"]), [5, 6]);
    assert_eq!(run(dir.path(), &RIGHT, &["keep_checkpoints=1", "save_every_steps=4"]), [6]);
}

#[test]
fn the_best_is_kept_beside_the_latest() {
    let dir = folder();
    let best = "keep_best=held_out/accuracy";
    // Neither what was before the first step nor what comes after the last is an evaluation during training.
    assert_eq!(run(dir.path(), &RIGHT, &["keep_checkpoints=1", best]), [2, 6]);
    assert_eq!(run(dir.path(), &[4, 3, 2, 2, 2, 2, 0], &["keep_checkpoints=2", best]), [1, 5, 6]);
    // It has a checkpoint although none is due.
    assert_eq!(run(dir.path(), &RIGHT, &["keep_checkpoints=1", "save_every_steps=0", best]), [2, 6]);
    // The first of equals.
    assert_eq!(run(dir.path(), &[4, 1, 1, 1, 1, 1, 1], &["keep_checkpoints=1", best]), [1, 6]);
}

#[test]
fn the_best_is_remembered_by_a_run_that_is_taken_up_again() {
    let dir = folder();
    let overrides: Vec<&str> =
        EVALUATED.iter().copied().chain(["keep_checkpoints=1", "keep_best=held_out/accuracy"]).collect();
    let recipe = read(dir.path(), SFT, &overrides).unwrap();
    let out = dir.path().join("run");
    let mut first = trainer(&recipe, &out);
    // There is no evaluation before, for only steps are taken.
    first.set_engine(engine(&first, &RIGHT[1..])).unwrap();
    steps(&mut first, 4);
    drop(first);
    assert_eq!(kept(&out), [2, 4]);
    let mut second = Trainer::resume(recipe, options(&out)).unwrap();
    second.set_engine(engine(&second, &[2, 0])).unwrap();
    second.run().unwrap();
    assert_eq!(kept(&out), [2, 6]);
}

#[test]
fn a_model_that_was_handed_in_is_the_reference_of_a_run_that_is_taken_up_again() {
    let dir = folder();
    let text = "
steps: 3
objective:
  kind: dpo
  pairs_per_step: 2
  pairs: { kind: written, source: { kind: jsonl, path: train.jsonl }, chosen: '{{ solution }}', rejected: 'no' }
";
    let recipe = recipe(dir.path(), text);
    let begin = |out: &Path| {
        // Another model than the recipe names.
        let model = vr1_vlm::Model::load(&tiny(), tch::Device::Cpu, tch::Kind::Float).unwrap();
        let norm = model.parameters().get("model.norm.weight").unwrap().shallow_clone();
        let _ = tch::no_grad(|| norm.shallow_clone().g_mul_scalar_(0.5));
        let processor = vr1_processor::Processor::from_dir(&tiny()).unwrap();
        Trainer::with_model(recipe.clone(), model, processor, options(out)).unwrap()
    };
    let [whole, out] = ["whole", "run"].map(|name| dir.path().join(name));
    let mut once = begin(&whole);
    steps(&mut once, 3);
    let mut first = begin(&out);
    steps(&mut first, 1);
    first.checkpoint().unwrap();
    drop(first);
    let mut second = Trainer::resume(recipe.clone(), options(&out)).unwrap();
    steps(&mut second, 2);
    assert_eq!(rows(&out), rows(&whole));
    assert_eq!(moved(&weights(once.model()), &weights(second.model())), None);
}
