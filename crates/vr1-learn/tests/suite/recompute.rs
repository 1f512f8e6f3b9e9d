//! What a backward pass computes again changes what it keeps, and nothing else.

use std::path::Path;
use std::sync::Mutex;

use tch::{Device, Kind, Tensor};
use vr1_learn::{LearnerConfig, OptimizerConfig};
use vr1_nn::{Adapter, LoraConfig, Modules, Recompute};
use vr1_torch::allocated;
use vr1_vlm::{Backbone, Batch, Features, Model, ModelConfig, Piece};

use crate::tiny::{
    self, Linear, answers, difference, gradients, group, learner, mixed, picture, prompt, signals, steady, step,
};

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trained {
    Everything,
    Language,
    Adapter { dropout: f64 },
}

fn model(name: &str, kind: Kind, trained: Trained) -> Model {
    let model = tiny::model(name, kind);
    match trained {
        Trained::Adapter { dropout } => {
            let target_modules = Modules::default();
            let lora =
                LoraConfig { rank: 3, alpha: 6.0, target_modules, exclude_modules: None, dropout, rslora: false };
            model.with_adapter(Adapter::random(lora, 7).unwrap()).unwrap()
        }
        Trained::Everything | Trained::Language => model,
    }
}

static ALONE: Mutex<()> = Mutex::new(());

/// The gradient of a second step, in micro-batches of so many tokens, and the parameters after it.
fn updated(
    name: &str,
    kind: Kind,
    trained: Trained,
    recompute: Recompute,
    budget: usize,
) -> (tiny::Named, tiny::Named) {
    let freeze = if trained == Trained::Language { vec!["tower".to_owned(), "merger".to_owned()] } else { Vec::new() };
    let optimizer = OptimizerConfig { beta1: 0.0, epsilon: 1e-2, max_grad_norm: 1e9, ..steady(0.1) };
    let config =
        LearnerConfig { optimizer, freeze, recompute, tokens_per_micro_batch: budget, ..LearnerConfig::default() };
    let mut learner = learner(model(name, kind, trained), config);
    // Dropout draws from a generator that threads share.
    let _alone = ALONE.lock();
    tch::manual_seed(3);
    let groups = mixed();
    for done in 0..2 {
        learner.update(&groups, &signals(&groups), &Linear::default(), step(done)).unwrap();
    }
    (gradients(&learner), tiny::parameters(tiny::of(&learner)))
}

const SETTINGS: [Recompute; 2] = [Recompute::Layers, Recompute::Attention];

const TRAINED: [Trained; 3] = [Trained::Everything, Trained::Language, Trained::Adapter { dropout: 0.3 }];

#[test]
fn the_gradient_is_the_same_whatever_is_recomputed() {
    for name in tiny::SEEING {
        for trained in TRAINED {
            for kind in [Kind::Float, Kind::BFloat16] {
                let (kept, parameters) = updated(name, kind, trained, Recompute::None, 100);
                for recompute in SETTINGS {
                    let (again, moved) = updated(name, kind, trained, recompute, 100);
                    let [gradient, update] = [(&again, &kept), (&moved, &parameters)].map(|(a, b)| difference(a, b));
                    println!("{name}, {kind:?}, {trained:?}, {recompute:?}: {gradient:e}, {update:e}");
                    assert!(
                        gradient < 1e-6 && update < 1e-6,
                        "{name}, {kind:?}, {trained:?}, {recompute:?}: {gradient}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_update_does_not_depend_on_the_cut_whatever_is_recomputed() {
    // Without dropout: its masks are drawn for each micro-batch.
    for trained in [Trained::Everything, Trained::Language, Trained::Adapter { dropout: 0.0 }] {
        let (whole, _) = updated("qwen2_vl_1", Kind::Float, trained, Recompute::None, 0);
        for recompute in SETTINGS {
            for budget in [1, 170, 100_000] {
                let (cut, _) = updated("qwen2_vl_1", Kind::Float, trained, recompute, budget);
                let error = difference(&cut, &whole);
                // As far as two steps of the same gradients in other orders of addition may be from each other (`cut`).
                assert!(error < 1e-4, "{trained:?}, {recompute:?}, {budget} tokens: {error}");
            }
        }
    }
}

/// A language model of eight layers.
fn deep() -> Model {
    let json = serde_json::json!({
        "model_type": "qwen2", "vocab_size": 374, "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 8,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
        "rope_theta": 1000.0, "tie_word_embeddings": true, "hidden_act": "silu",
    });
    let config = ModelConfig::from_json(json.as_object().unwrap().clone(), Path::new("config.json")).unwrap();
    Model::random(config, 1, Device::Cpu, Kind::Float).unwrap()
}

/// The bytes that a pass keeps for its backward pass, and the most that both take.
fn bytes(recompute: Recompute, pass: impl Fn(Recompute) -> Tensor) -> (i64, i64) {
    let (out, kept) = allocated(|| pass(recompute)).unwrap();
    drop(out);
    let (_, both) = allocated(|| pass(recompute).sum(Kind::Float).backward()).unwrap();
    (kept.left, both.peak)
}

#[test]
fn a_layer_that_is_recomputed_keeps_what_goes_into_it() {
    let model = deep();
    let trained = model.train(&[]).unwrap();
    let weights: i64 = trained.iter().map(|(_, tensor)| 4 * tensor.numel() as i64).sum();
    let group = group(0, &prompt("some", &[], "?"), &answers(&[200, 300, 100]));
    let pass = |recompute: Recompute| {
        let batch = Batch { recompute, ..Batch::new(&[Piece::whole(&group)]).unwrap() };
        model.score(&batch, &[]).unwrap()
    };
    let [none, layers, attention] =
        [Recompute::None, Recompute::Layers, Recompute::Attention].map(|recompute| bytes(recompute, pass));
    println!("kept and at most: {none:?}, {layers:?} with layers, {attention:?} with attention recomputed");
    let tokens = Batch::new(&[Piece::whole(&group)]).unwrap().input_ids.len() as i64;
    // What goes into eight layers and the norm, and for what the norm gives half as much again.
    assert!(layers.0 < 9 * tokens * 64 * 4 * 3 / 2, "{layers:?}");
    assert!(attention.0 > 2 * layers.0 && attention.0 < none.0 * 9 / 10, "{none:?}, {layers:?}, {attention:?}");
    // Beside the gradients one layer at a time is as it would be.
    assert!(layers.1 - weights < (none.1 - weights) / 2, "{none:?}, {layers:?}, weights {weights}");
}

#[test]
fn so_does_a_block_of_a_tower_that_is_trained() {
    for name in tiny::SEEING {
        let model = tiny::model(name, Kind::Float);
        model.train(&[]).unwrap();
        let shown = prompt("shown", &[picture(112, 112, 0)], "?");
        let pass = |recompute: Recompute| {
            let features: Vec<Features> = model.encode(shown.patches(), recompute).unwrap();
            features[0].tokens.as_ref().unwrap().shallow_clone()
        };
        let [none, layers] = [Recompute::None, Recompute::Layers].map(|recompute| bytes(recompute, pass).0);
        let frozen = {
            model.train(&["tower".to_owned(), "merger".to_owned()]).unwrap();
            bytes(Recompute::Layers, |recompute| pass(recompute) * Tensor::from(1f32).set_requires_grad(true)).0
        };
        println!("{name}: {none} bytes kept, {layers} with blocks recomputed, {frozen} of a frozen tower");
        assert!(layers < none * 2 / 3, "{name}: {none}, {layers}");
        assert!(frozen < layers, "{name}: {frozen}, {layers}");
    }
}
