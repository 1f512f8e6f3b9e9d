//! LoRA adapters against peft (fixtures/adapters/generate.py), and what collects gradients.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Deserialize;
use serde_json::Value;
use tch::{Device, Kind, Tensor};
use vr1_nn::{Adapter, Derived, LoraConfig, Modules};
use vr1_processor::Prompt;
use vr1_vlm::{Backbone, Model};

use crate::checkpoints::{Case, Checkpoint, checkpoints, states, whole, worst};

/// libtorch has one generator, and whatever collects gradients may draw from it: one test at a time.
static GENERATOR: Mutex<()> = Mutex::new(());

const ADAPTERS: [&str; 8] = ["names", "everything", "pattern", "excluded", "idle", "head", "connector", "language"];

#[derive(Deserialize)]
struct Expected {
    base: String,
    logprobs: Vec<f32>,
}

fn adapter(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters").join(name)
}

/// The base of an adapter, and what peft makes of both.
fn case(name: &str) -> (Checkpoint, Expected) {
    let text = fs::read_to_string(adapter(name).join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_str(&text).unwrap();
    let base = checkpoints().into_iter().find(|checkpoint| checkpoint.name == expected.base).unwrap();
    (base, expected)
}

fn adapted(checkpoint: &Checkpoint, name: &str) -> Model {
    checkpoint.model(Kind::Float).with_adapter(Adapter::open(&adapter(name)).unwrap()).unwrap()
}

/// The words alone are the first case.
fn words(checkpoint: &Checkpoint) -> &(Case, Prompt) {
    &checkpoint.cases[0]
}

/// A case with images, where the family takes any.
fn images(checkpoint: &Checkpoint) -> &(Case, Prompt) {
    checkpoint.cases.last().unwrap()
}

#[test]
fn logprobs_are_those_of_peft() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    for name in ADAPTERS {
        let (checkpoint, expected) = case(name);
        let (case, prompt) = words(&checkpoint);
        let error = worst(&whole(&adapted(&checkpoint, name), case, prompt), &expected.logprobs);
        println!("{name}: {error:e}");
        assert!(error < 1e-3, "{name}: {error}");
    }
}

#[test]
fn a_merged_model_is_the_adapted_one() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    for name in ADAPTERS {
        let (checkpoint, _) = case(name);
        let model = adapted(&checkpoint, name);
        let dir = tempfile::tempdir().unwrap();
        model.save(dir.path(), Kind::Float).unwrap();
        let saved = Model::load(dir.path(), Device::Cpu, Kind::Float).unwrap();
        let derived = model.derive(Derived::Merged).unwrap();
        assert!(derived.parameters().adapter().is_none());
        let (case, prompt) = images(&checkpoint);
        for merged in [&saved as &dyn Backbone, derived.as_ref()] {
            let error = worst(&whole(merged, case, prompt), &whole(&model, case, prompt));
            assert!(error < 1e-3, "{name}: {error}");
        }
    }
}

#[test]
fn an_adapter_is_written_as_peft_writes_it() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    for name in ADAPTERS {
        let (checkpoint, _) = case(name);
        let dir = tempfile::tempdir().unwrap();
        adapted(&checkpoint, name).save_adapter(dir.path(), Some(&checkpoint.name)).unwrap();
        let tensors = |dir: &Path| {
            let bytes = fs::read(dir.join("adapter_model.safetensors")).unwrap();
            let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            file.tensors().into_iter().map(|(name, view)| (name, view.shape().to_vec(), view.data().to_vec())).collect()
        };
        let found: BTreeSet<(String, Vec<usize>, Vec<u8>)> = tensors(dir.path());
        assert!(found == tensors(&adapter(name)), "{name}: {:?}", found.iter().map(|t| &t.0).collect::<Vec<_>>());
        let config = |dir: &Path| -> Value {
            serde_json::from_str(&fs::read_to_string(dir.join("adapter_config.json")).unwrap()).unwrap()
        };
        let (ours, theirs) = (config(dir.path()), config(&adapter(name)));
        for (key, value) in ours.as_object().unwrap().iter().filter(|(key, _)| *key != "task_type") {
            assert_eq!(value, &theirs[key], "{name}: {key}");
        }
        assert_eq!(ours["task_type"], "CAUSAL_LM");
    }
}

#[test]
fn a_new_adapter_changes_nothing_and_alone_is_trained() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    for checkpoint in checkpoints() {
        let config = LoraConfig { rank: 2, alpha: 4.0, dropout: 0.5, ..lora() };
        let base = checkpoint.model(Kind::BFloat16);
        let (case, prompt) = images(&checkpoint);
        let before = whole(&base, case, prompt);
        let model = base.with_adapter(Adapter::random(config, 3).unwrap()).unwrap();
        assert_eq!(whole(&model, case, prompt), before, "{}", checkpoint.name);
        let trained = model.train(&[]).unwrap();
        assert!(trained.iter().all(|(name, tensor)| name.contains(".lora_") && tensor.kind() == Kind::Float));
        // Without a gradient to collect nothing is dropped, trained or not.
        assert_eq!(tch::no_grad(|| whole(&model, case, prompt)), before, "{}", checkpoint.name);
    }
}

#[test]
fn dropout_is_at_work_where_gradients_are_collected() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    let (checkpoint, _) = case("everything");
    let model = adapted(&checkpoint, "everything");
    let (case, prompt) = words(&checkpoint);
    let still = whole(&model, case, prompt);
    model.train(&[]).unwrap();
    tch::manual_seed(1);
    let dropped = whole(&model, case, prompt);
    assert!(worst(&dropped, &still) > 1e-2);
    tch::manual_seed(1);
    assert_eq!(whole(&model, case, prompt), dropped);
    assert_eq!(tch::no_grad(|| whole(&model, case, prompt)), still);
}

#[test]
fn the_base_of_an_adapted_model_is_the_model_before() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    for name in ADAPTERS {
        let (checkpoint, _) = case(name);
        let model = adapted(&checkpoint, name);
        let base = model.derive(Derived::Base).unwrap();
        let (case, prompt) = images(&checkpoint);
        let before = whole(&checkpoint.model(Kind::Float), case, prompt);
        assert!(worst(&whole(base.as_ref(), case, prompt), &before) < 1e-5, "{name}");
        assert!(worst(&whole(&model, case, prompt), &before) > 1e-2, "{name}");
    }
}

#[test]
fn a_copy_keeps_its_adapter_while_training_moves_it() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    let (checkpoint, _) = case("everything");
    let model = adapted(&checkpoint, "everything");
    let (case, prompt) = words(&checkpoint);
    let before = whole(&model, case, prompt);
    // What is trained is what a copy must have for itself.
    let trained = model.train(&[]).unwrap();
    let copy = model.derive(Derived::Copy).unwrap();
    for (_, tensor) in trained {
        let _ = tch::no_grad(|| tensor.shallow_clone().g_add_scalar_(0.1));
    }
    assert!(worst(&tch::no_grad(|| whole(&model, case, prompt)), &before) > 1e-2);
    assert!(worst(&whole(copy.as_ref(), case, prompt), &before) < 1e-5);
}

/// The names of parameters that have a gradient after a step back from every logit.
fn with_gradient(model: &Model, prompt: &Prompt) -> BTreeSet<String> {
    model.logits(&states(model, prompt)).log_softmax(-1, Kind::Float).select(-1, 3).sum(Kind::Float).backward();
    let has = |tensor: &Tensor| tensor.grad().defined() && tensor.grad().abs().sum(Kind::Float).double_value(&[]) > 0.0;
    model.parameters().iter().filter(|(_, tensor)| has(tensor)).map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn gradients_are_absent_exactly_where_it_is_frozen() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    const MERGERS: [&str; 5] =
        ["visual.merger.", "visual.deepstack_merger_list.", "multi_modal_projector.", "image_newline", "connector."];
    let merger = |name: &str| MERGERS.iter().any(|place| name.starts_with(place));
    for checkpoint in checkpoints().into_iter().filter(Checkpoint::sees) {
        let model = checkpoint.model(Kind::Float);
        let mut beside = model.config().places_beside_language();
        beside.retain(|place| model.parameters().iter().any(|(name, _)| name.starts_with(place)));
        let language = |name: &str| !beside.iter().any(|place| name.starts_with(place));
        let tower = |name: &str| !language(name) && !merger(name);
        let layer = |name: &str| name.starts_with("model.layers.1.") || name == "model.norm.weight";
        type Frozen<'a> = &'a dyn Fn(&str) -> bool;
        let cases: [(&[&str], &[Frozen<'_>]); 8] = [
            (&[], &[]),
            (&["tower"], &[&tower]),
            (&["merger"], &[&merger]),
            (&["language"], &[&language]),
            (&["tower", "merger"], &[&tower, &merger]),
            (&beside, &[&tower, &merger]),
            (&["tower", "language"], &[&tower, &language]),
            (&["model.layers.1", "model.norm"], &[&layer]),
        ];
        for (freeze, frozen) in cases {
            let model = checkpoint.model(Kind::Float);
            let names = |freeze: &[String]| -> BTreeSet<String> {
                model.train(freeze).unwrap().into_iter().map(|(name, _)| name).collect()
            };
            let freeze: Vec<String> = freeze.iter().map(|&part| part.to_owned()).collect();
            let mut expected = names(&[]);
            expected.retain(|name| !frozen.iter().any(|frozen| frozen(name)));
            assert_eq!(names(&freeze), expected, "{} {freeze:?}", checkpoint.name);
            let (_, prompt) = images(&checkpoint);
            assert_eq!(with_gradient(&model, prompt), expected, "{} {freeze:?}", checkpoint.name);
        }
    }
}

#[test]
fn an_adapter_has_gradients_where_it_is_and_is_not_frozen() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    let (checkpoint, _) = case("everything");
    let model = adapted(&checkpoint, "everything");
    model.train(&["tower".to_owned()]).unwrap();
    let (_, prompt) = images(&checkpoint);
    let found = with_gradient(&model, prompt);
    let wanted = |name: &&str| name.contains(".lora_") && !(name.starts_with("visual.blocks."));
    let expected: BTreeSet<String> =
        model.parameters().iter().map(|(name, _)| name).filter(wanted).map(str::to_owned).collect();
    assert_eq!(found, expected);
}

fn lora() -> LoraConfig {
    let target_modules = Modules::default();
    LoraConfig { rank: 1, alpha: 1.0, target_modules, exclude_modules: None, dropout: 0.0, rslora: false }
}

#[test]
fn what_cannot_be_is_named() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    let (checkpoint, _) = case("names");
    let with = |config: LoraConfig| {
        Adapter::random(config, 0)
            .map_err(|e| e.to_string())
            .and_then(|adapter| checkpoint.model(Kind::Float).with_adapter(adapter).map_err(|e| e.to_string()))
            .map(drop)
            .unwrap_err()
    };
    let names = |names: &[&str]| Modules::Names(names.iter().map(|&name| name.to_owned()).collect());
    for (config, expected) in [
        (LoraConfig { rank: 0, ..lora() }, "`rank`: 0 is not between 1 and"),
        (LoraConfig { dropout: 1.0, ..lora() }, "`dropout`: 1 is not in [0, 1)"),
        (
            LoraConfig { target_modules: names(&["q_proj", "c_attn"]), ..lora() },
            "`target_modules`: c_attn is no linear layer of the model; there are 0, 2, down_proj, fc1,",
        ),
        (
            LoraConfig { target_modules: Modules::Pattern("nothing".into()), ..lora() },
            "`target_modules`: what it matches is no linear layer of the model",
        ),
        (LoraConfig { target_modules: Modules::Pattern("(".into()), ..lora() }, "`target_modules`: "),
    ] {
        let error = with(config);
        assert!(error.contains(expected), "{error}");
    }
    let error = checkpoint.model(Kind::Float).train(&["vision".to_owned()]).unwrap_err().to_string();
    assert!(error.contains("nothing in the model is called `vision`"), "{error}");
}

#[test]
fn an_adapter_of_another_model_or_kind_is_refused() {
    let _generator = GENERATOR.lock().unwrap_or_else(|broken| broken.into_inner());
    let (checkpoint, _) = case("language");
    let foreign = Adapter::open(&adapter("names")).unwrap();
    let error = checkpoint.model(Kind::Float).with_adapter(foreign).unwrap_err().to_string();
    assert!(error.contains("names/adapter_model.safetensors: the weights do not fit the model"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(adapter("names").join("adapter_config.json")).unwrap();
    let whole: Value = serde_json::from_str(&text).unwrap();
    for (key, value, expected) in [
        ("use_dora", Value::Bool(true), "`use_dora`: true is not known here"),
        ("modules_to_save", serde_json::json!(["lm_head"]), "`modules_to_save`: [\"lm_head\"] is not known here"),
        ("bias", "all".into(), "`bias`: \"all\" is not \"none\""),
        ("peft_type", "IA3".into(), "`peft_type`: \"IA3\" is not \"LORA\""),
        ("r", "two".into(), "`r`: invalid type"),
    ] {
        let mut config = whole.clone();
        config[key] = value;
        fs::write(dir.path().join("adapter_config.json"), config.to_string()).unwrap();
        let error = Adapter::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("adapter_config.json") && error.contains(expected), "{error}");
    }
}
