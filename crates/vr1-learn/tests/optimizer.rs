//! Updates against those of torch.optim; the numbers come from `fixtures/optimizer/generate.py`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde::Deserialize;
use tch::Tensor;
use vr1_learn::{Method, Optimizer, OptimizerConfig, Schedule};

#[derive(Deserialize)]
struct Steps {
    shape: Vec<i64>,
    start: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    after: Vec<Vec<f32>>,
}

fn recorded(method: &str) -> Vec<Steps> {
    let all: serde_json::Value = serde_json::from_str(include_str!("fixtures/optimizer/steps.json")).unwrap();
    serde_json::from_value(all[method].clone()).unwrap()
}

fn config(method: Method) -> OptimizerConfig {
    OptimizerConfig {
        method,
        learning_rate: 0.1,
        schedule: Schedule::Constant,
        beta2: 0.98,
        weight_decay: 0.05,
        max_grad_norm: 1e9,
        ..OptimizerConfig::default()
    }
}

/// The largest difference of any step, for a parameter called `name`.
fn difference(steps: &Steps, name: &str, method: Method) -> f64 {
    let tensor = |values: &[f32]| Tensor::from_slice(values).view(steps.shape.as_slice());
    let parameter = tensor(&steps.start).set_requires_grad(true);
    let mut optimizer = Optimizer::new(vec![(name.to_owned(), parameter.shallow_clone())], config(method)).unwrap();
    let mut worst: f64 = 0.0;
    for (step, (gradient, after)) in steps.gradients.iter().zip(&steps.after).enumerate() {
        optimizer.step(vec![Some(tensor(gradient))], step as u64, 3).unwrap();
        worst = worst.max((parameter.detach() - tensor(after)).abs().max().double_value(&[]));
    }
    worst
}

#[test]
fn adamw_steps_are_those_of_torch() {
    for steps in recorded("adamw") {
        assert!(difference(&steps, "visual.blocks.0.mlp.fc1.weight", Method::AdamW) < 1e-6);
    }
}

#[test]
fn muon_steps_are_those_of_torch() {
    for steps in recorded("muon") {
        let worst = difference(&steps, "model.layers.0.mlp.up_proj.weight", Method::Muon);
        assert!(worst < 1e-5, "{:?}: {worst}", steps.shape);
    }
}

#[test]
fn muon_leaves_embeddings_to_adamw() {
    for steps in recorded("adamw") {
        assert!(difference(&steps, "model.embed_tokens.weight", Method::Muon) < 1e-6);
    }
}
