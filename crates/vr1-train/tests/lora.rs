//! A run that trains adapters leaves the model it came from as it was, and says what it learnt in two ways that agree.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tch::{Device, Kind, Tensor};
use vr1_nn::Adapter;
use vr1_processor::Processor;
use vr1_run::Show;
use vr1_train::{Recipe, RunOptions, Trainer};
use vr1_vlm::{Backbone, Model};

/// Held by tests that draw from libtorch's one generator.
static GENERATOR: Mutex<()> = Mutex::new(());

const RECIPE: &str = r#"
system: adapters
model: MODEL
steps: 2
lora: { rank: 4, alpha: 8, target_modules: [q_proj, v_proj, down_proj, "mlp.0"], parts: PARTS, dropout: 0.1 }
freeze: FREEZE
prompt: { layout: raw, text: "{{ question }}" }
reward: { terms: { accuracy: "exact(answer, solution)" }, total: accuracy }
optimizer: { learning_rate: 1.0e-2 }
evaluation:
  samples: 1
  max_completion_tokens: 2
  sets: { spatial: { kind: scenes, task: spatial, split: in_domain } }
objective:
  kind: sft
  documents_per_step: 2
  documents:
    - source: { kind: scenes, task: attributes, split: pretrain }
      layout: raw
      text: "Describe the image.\n"
      target: "{{ caption }}"
"#;

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/assets/tiny")
}

fn recipe(dir: &Path, parts: &str, freeze: &str) -> vr1_train::Result<Recipe> {
    let text = RECIPE.replace("MODEL", tiny().to_str().unwrap()).replace("PARTS", parts).replace("FREEZE", freeze);
    let path = dir.join("recipe.yaml");
    fs::write(&path, text).unwrap();
    Recipe::load(&path, &[])
}

fn trainer(dir: &Path, recipe: Recipe) -> vr1_train::Result<Trainer> {
    Trainer::new(recipe, RunOptions { show: Show::Quiet, ..RunOptions::new(dir.join("run")) })
}

/// The last hidden state of a prompt.
fn state(model: &dyn Backbone) -> Tensor {
    let processor = Processor::from_dir(&tiny()).unwrap();
    let messages =
        [vr1_processor::Message::text(vr1_processor::Role::User, "How many red cubes are left of the sphere?")];
    let layout = vr1_processor::Layout::Raw;
    let request = vr1_processor::PromptRequest { sample: "s", messages: &messages, layout, prefill: "" };
    let prompt = processor.prompt(&request).unwrap();
    tch::no_grad(|| model.prefill(&[&prompt]).unwrap().0)
}

#[test]
fn a_checkpoint_holds_the_merged_model_and_the_adapter() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    for (parts, visual) in [("language", false), ("all", true)] {
        let dir = tempfile::tempdir().unwrap();
        let mut trainer = trainer(dir.path(), recipe(dir.path(), parts, "[]").unwrap()).unwrap();
        trainer.step().unwrap();
        trainer.step().unwrap();
        let checkpoint = trainer.checkpoint().unwrap();
        let base = || Model::load(&tiny(), Device::Cpu, Kind::Float).unwrap();
        let learnt = state(trainer.model());
        assert!((&learnt - state(&base())).abs().max().double_value(&[]) > 1e-2, "{parts}: nothing was learnt");

        let merged = Model::load(&checkpoint, Device::Cpu, Kind::Float).unwrap();
        assert!((&learnt - state(&merged)).abs().max().double_value(&[]) < 1e-4, "{parts}: merged");
        let adapter = Adapter::open(&checkpoint.join("adapter")).unwrap();
        let adapted = base().with_adapter(adapter).unwrap();
        assert!((&learnt - state(&adapted)).abs().max().double_value(&[]) < 1e-5, "{parts}: adapted");
        let names: Vec<&str> =
            adapted.parameters().iter().map(|(name, _)| name).filter(|n| n.contains("lora")).collect();
        assert_eq!(names.iter().any(|name| name.starts_with("visual.merger.mlp.0.lora_")), visual, "{names:?}");

        // What is not adapted is the base's, to the last bit.
        let base = base();
        for (name, tensor) in trainer.model().parameters().iter().filter(|(name, _)| !name.contains("lora")) {
            assert!(tensor.equal(base.parameters().get(name).unwrap()), "{parts}: {name} moved");
        }
    }
}

#[test]
fn the_same_seed_drops_the_same() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    let run = || {
        let dir = tempfile::tempdir().unwrap();
        let mut trainer = trainer(dir.path(), recipe(dir.path(), "all", "[tower]").unwrap()).unwrap();
        trainer.step().unwrap();
        trainer.step().unwrap();
        state(trainer.model())
    };
    assert!(run().equal(&run()));
}

#[test]
fn a_run_taken_up_again_goes_on_with_its_adapter() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    let dir = tempfile::tempdir().unwrap();
    let recipe = || recipe(dir.path(), "all", "[]").unwrap();
    let mut whole = trainer(&dir.path().join("whole"), recipe()).unwrap();
    whole.step().unwrap();
    whole.step().unwrap();
    let mut first = trainer(&dir.path().join("halves"), recipe()).unwrap();
    first.step().unwrap();
    first.checkpoint().unwrap();
    drop(first);
    let options = RunOptions { show: Show::Quiet, ..RunOptions::new(dir.path().join("halves/run")) };
    let mut second = Trainer::resume(recipe(), options).unwrap();
    second.step().unwrap();
    // Where gradients are collected, dropout is at work and would make any two states differ.
    let [once, twice] = [whole.model(), second.model()].map(|model| tch::no_grad(|| state(model)));
    assert!(once.equal(&twice));
}

#[test]
fn a_setting_that_cannot_be_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = recipe(dir.path(), "everything", "[]").unwrap_err().to_string();
    assert!(error.contains("parts") && error.contains("everything"), "{error}");
    let recipe = recipe(dir.path(), "language", "[towers]").unwrap();
    let error = trainer(dir.path(), recipe).unwrap_err().to_string();
    assert!(error.contains("nothing in the model is called `towers`"), "{error}");
}
