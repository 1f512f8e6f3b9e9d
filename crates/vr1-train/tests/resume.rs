//! A run that stops and is taken up again is the run that did not stop.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::{Kind, Tensor};
use vr1_run::{Show, read_metrics};
use vr1_train::{Recipe, RunOptions, Trainer};

const SFT: &str = "
  kind: sft
  documents_per_step: 2
  curriculum: { kind: adaptive }
  documents:
    - { source: { kind: scenes, task: attributes, split: train }, text: '{{ question }}', target: '{{ solution }}' }
    - { stage: 1, source: { kind: scenes, task: counting, split: train }, text: '{{ question }}', target: '{{ solution }}' }
";

const GRPO: &str = "
  kind: grpo
  train: { kind: scenes, task: attributes, split: train }
  prompts_per_step: 2
  group_size: 2
  sampling: { temperature: 1.0, max_completion_tokens: 6 }
  loss: { beta: 0.1 }
";

/// A recipe of four steps on the embedded model, whose reward is of the completion's words alone.
fn recipe(dir: &Path, objective: &str, overrides: &[&str]) -> Recipe {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/assets/tiny");
    let text = format!(
        "system: resumed\nmodel: {tiny:?}\nsteps: 4\nprompt: {{ text: '{{{{ question }}}}' }}\n\
         reward: {{ terms: {{ accuracy: 'length(completion) / 100' }}, total: accuracy }}\n\
         optimizer: {{ learning_rate: 1.0e-3, warmup_steps: 2 }}\n\
         evaluation: {{ samples: 2, max_completion_tokens: 3, sets: {{ held_out: {{ kind: scenes, task: attributes, split: in_domain }} }} }}\n\
         objective:{objective}"
    );
    let path = dir.join("recipe.yaml");
    std::fs::write(&path, text).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|&one| one.to_owned()).collect();
    Recipe::load(&path, &overrides).unwrap()
}

fn options(out: PathBuf, kind: Kind) -> RunOptions {
    RunOptions { kind, show: Show::Quiet, ..RunOptions::new(out) }
}

/// A run's numbers without its times, and its last weights by name.
fn outcome(out: &Path) -> (Vec<String>, BTreeMap<String, Tensor>) {
    let mut rows = read_metrics(&out.join("metrics.jsonl")).unwrap();
    for row in &mut rows {
        row.values.retain(|name, _| !name.contains("second") && name != "memory_gb");
    }
    let rows = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    let weights = Tensor::read_safetensors(out.join("checkpoints/step-4/model.safetensors")).unwrap();
    (rows, weights.into_iter().collect())
}

#[test]
fn a_resumed_run_is_bit_for_bit_the_run_that_did_not_stop() {
    for (objective, kind) in [(SFT, Kind::Float), (GRPO, Kind::Float), (GRPO, Kind::BFloat16)] {
        let dir = tempfile::tempdir().unwrap();
        let recipe = recipe(dir.path(), objective, &[]);
        let [whole, stopped] = ["whole", "stopped"].map(|name| dir.path().join(name));
        let once = Trainer::new(recipe.clone(), options(whole.clone(), kind)).unwrap().run().unwrap();

        let mut trainer = Trainer::new(recipe.clone(), options(stopped.clone(), kind)).unwrap();
        trainer.step().unwrap();
        trainer.step().unwrap();
        trainer.checkpoint().unwrap();
        trainer.step().unwrap(); // taken after the last checkpoint, so taken again
        drop(trainer);
        let twice = Trainer::resume(recipe, options(stopped.clone(), kind)).unwrap().run().unwrap();

        let ((rows, weights), (resumed_rows, resumed_weights)) = (outcome(&whole), outcome(&stopped));
        assert_eq!(rows, resumed_rows);
        assert_eq!(once.after, twice.after);
        assert_eq!(weights.len(), resumed_weights.len());
        for (name, weight) in &weights {
            assert!(weight.equal(&resumed_weights[name]), "{name}");
        }
    }
}

#[test]
fn a_run_without_a_checkpoint_begins_again_in_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = recipe(dir.path(), GRPO, &[]);
    let [whole, stopped] = ["whole", "stopped"].map(|name| dir.path().join(name));
    let once = Trainer::new(recipe.clone(), options(whole.clone(), Kind::Float)).unwrap().run().unwrap();
    Trainer::new(recipe.clone(), options(stopped.clone(), Kind::Float)).unwrap().step().unwrap();
    let twice = Trainer::resume(recipe, options(stopped.clone(), Kind::Float)).unwrap().run().unwrap();
    assert_eq!(outcome(&whole).0, outcome(&stopped).0);
    assert_eq!((once.before, once.after), (twice.before, twice.after));
}

#[test]
fn what_cannot_be_resumed_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let refused = |overrides: &[&str]| {
        let recipe = recipe(dir.path(), SFT, overrides);
        Trainer::resume(recipe, options(out.clone(), Kind::Float)).unwrap_err().to_string()
    };
    assert!(refused(&[]).contains("holds no run"), "{}", refused(&[]));
    drop(Trainer::new(recipe(dir.path(), SFT, &[]), options(out.clone(), Kind::Float)).unwrap());
    let other = refused(&["optimizer.learning_rate=0.5"]);
    assert!(other.contains("`optimizer.learning_rate` is 0.5 here and 0.001 in"), "{other}");

    std::fs::remove_dir_all(&out).unwrap();
    let mut trainer = Trainer::new(recipe(dir.path(), SFT, &[]), options(out.clone(), Kind::Float)).unwrap();
    trainer.step().unwrap();
    let checkpoint = trainer.checkpoint().unwrap();
    drop(trainer);
    let state = checkpoint.join("optimizer.safetensors");
    let bytes = std::fs::read(&state).unwrap();
    std::fs::write(&state, &bytes[..bytes.len() / 2]).unwrap();
    let cut = refused(&[]);
    assert!(cut.contains("optimizer.safetensors: it is not what was written"), "{cut}");
    // One of an older version, which has nothing to be held to.
    std::fs::remove_file(checkpoint.join("checksums.json")).unwrap();
    let cut = refused(&[]);
    assert!(cut.contains("optimizer.safetensors"), "{cut}");
    std::fs::write(checkpoint.join("trainer_state.json"), "{").unwrap();
    let broken = refused(&[]);
    assert!(broken.contains("trainer_state.json: EOF"), "{broken}");
}
