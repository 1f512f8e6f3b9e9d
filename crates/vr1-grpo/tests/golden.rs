//! Losses, gradients and advantages of the installed TRL 1.16.0 and of verl 0.9.1, written by `fixtures/generate.py`.
#![cfg(feature = "tch")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use serde_json::Value;
use tch::{Kind, Tensor};
use vr1_grpo::{
    AdvantageConfig, Aggregation, Baseline, CispoCap, Compat, EntropyMask, Extras, GrpoConfig, Importance, KlEstimator,
    KlGradient, KlWeight, Objective, SamplerCorrection, Scale, advantages, grpo_loss_with, per_reward_advantages,
    returns_to_go, weighted_rewards, whiten_by_tokens,
};

fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        Value::Null => vec![f32::NAN],
        value => vec![value.as_f64().unwrap() as f32],
    }
}

fn tensor(value: &Value) -> Tensor {
    let rows = value.as_array().unwrap();
    let flat = Tensor::from_slice(&numbers(value));
    if rows[0].is_array() { flat.view([rows.len() as i64, -1]) } else { flat }
}

fn read(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Runs a case; the largest error of loss and gradient, relative to the largest value.
fn error(inputs: &Value, expected: &Value, beta_term_only: bool, config: &GrpoConfig) -> f64 {
    let logprobs = tensor(&inputs["logprobs"]).set_requires_grad(true);
    let (entropy, sampler) = (tensor(&inputs["entropy"]), tensor(&inputs["sampler_logprobs"]));
    let extras = Extras { entropy: Some(&entropy), sampler_logprobs: Some(&sampler) };
    let mut given = tensor(&inputs["advantages"]);
    if beta_term_only {
        given = given.zeros_like();
    }
    let (loss, stats) = grpo_loss_with(
        &logprobs,
        &tensor(&inputs["old_logprobs"]),
        Some(&tensor(&inputs["ref_logprobs"])),
        &given,
        &tensor(&inputs["mask"]),
        extras,
        config,
    )
    .unwrap();
    loss.backward();
    let gradient = tensor(&expected["gradient"]);
    let scale = gradient.abs().max().double_value(&[]);
    let gradient_error = (logprobs.grad() - gradient).abs().max().double_value(&[]) / scale;
    let value = expected["loss"].as_f64().unwrap();
    let mut worst = gradient_error.max((loss.double_value(&[]) - value).abs() / (value.abs() + scale));
    if let (Some(kl), true) = (expected["kl"].as_f64(), config.beta != 0.0) {
        worst = worst.max((stats.kl - kl).abs() / kl);
    }
    worst
}

fn trl_config(name: &str) -> GrpoConfig {
    let (loss, options) = name.split_once(' ').unwrap_or((name, ""));
    let sequence = GrpoConfig::default();
    let token = GrpoConfig { aggregation: Aggregation::Token, ..sequence };
    let mut config = match loss {
        "grpo" => sequence,
        "bnpo" | "dapo" => token,
        "dr_grpo" => GrpoConfig { aggregation: Aggregation::Constant(11), ..sequence },
        "luspo" => GrpoConfig { aggregation: Aggregation::SequenceSum, ..sequence },
        "sapo" => GrpoConfig { objective: Objective::SAPO, ..sequence },
        "vespo" => GrpoConfig { objective: Objective::VESPO, ..token },
        "cispo" => {
            GrpoConfig { objective: Objective::Cispo { cap: CispoCap::Absolute }, epsilon_high: Some(1.3), ..token }
        }
        "rloo" => GrpoConfig { importance: Importance::SequenceProduct, beta: 0.0, ..sequence },
        _ => panic!("no such loss: {name}"),
    };
    for option in options.split_whitespace() {
        match option {
            "beta=0" => config.beta = 0.0,
            "sequence" => config.importance = Importance::Sequence,
            "bias" => config.kl_weight = KlWeight::Ratio,
            "clip-higher" => (config.epsilon_high, config.beta) = (Some(0.28), 0.0),
            "delta" => config.delta = Some(1.5),
            "top" if loss == "dapo" => config.entropy_mask = EntropyMask::Top(0.3),
            "top" => config.entropy_mask = EntropyMask::Top(0.5),
            "entropy" => {}
            "bonus" if config.entropy_mask == EntropyMask::All => config.entropy_bonus = 0.02,
            "bonus" => config.entropy_bonus = 0.01,
            "off-policy" => config.off_policy_threshold = Some(0.05),
            "token_truncate" => config.sampler_correction = SamplerCorrection::TokenTruncate { min: None, max: 1.2 },
            "token_mask" => config.sampler_correction = SamplerCorrection::TokenMask { min: Some(0.9), max: 1.2 },
            "sequence_truncate" => {
                config.sampler_correction = SamplerCorrection::SequenceTruncate { min: Some(0.8), max: 1.2 };
            }
            "sequence_mask" => {
                let max = if loss == "vespo" { 1.5 } else { 1.2 };
                config.sampler_correction = SamplerCorrection::SequenceMask { min: Some(0.5), max };
            }
            _ => panic!("no such option: {name}"),
        }
    }
    config
}

#[test]
fn losses_and_gradients_equal_those_of_trl() {
    let fixture = read("trl.json");
    let mut cases = 0;
    for batch in fixture["batches"].as_array().unwrap() {
        for (name, expected) in batch["cases"].as_object().unwrap() {
            let error = error(&batch["inputs"], expected, false, &trl_config(name));
            println!("trl  {name:28} {error:.1e}");
            assert!(error < 1e-5, "{name}: {error:e}");
            cases += 1;
        }
    }
    assert!(cases > 80);
}

#[test]
fn losses_and_gradients_equal_those_of_verl() {
    let fixture = read("verl.json");
    let base = GrpoConfig { epsilon_high: Some(0.28), ..Compat::Verl.grpo() };
    for batch in fixture["batches"].as_array().unwrap() {
        for (name, expected) in batch["cases"].as_object().unwrap() {
            let (loss, mode) = name.split_once(' ').unwrap();
            let mut config = match loss {
                "vanilla" => base,
                // verl clips no ratio of GSPO from below by the dual clip.
                "gspo" => GrpoConfig { importance: Importance::SequenceToken, dual_clip: None, ..base },
                "cispo" => GrpoConfig { objective: Objective::Cispo { cap: CispoCap::Around }, ..base },
                "gpg" => GrpoConfig { objective: Objective::Reinforce, ..base },
                "sapo" => GrpoConfig { objective: Objective::SAPO, ..base },
                "kl" => GrpoConfig { beta: 1.0, objective: Objective::Unclipped, ..base },
                _ => panic!("no such loss: {name}"),
            };
            match mode {
                "token-mean" => {}
                "seq-mean-token-sum" => config.aggregation = Aggregation::SequenceSum,
                "seq-mean-token-sum-norm" => config.aggregation = Aggregation::Constant(7),
                "seq-mean-token-mean" => config.aggregation = Aggregation::Sequence,
                "k1" => config.kl = KlEstimator::K1,
                "k2" => config.kl = KlEstimator::K2,
                "k3" => config.kl = KlEstimator::K3,
                "abs" => config.kl = KlEstimator::Absolute,
                "k1+" => (config.kl, config.kl_gradient) = (KlEstimator::K1, KlGradient::K2),
                "k3+" => (config.kl, config.kl_gradient) = (KlEstimator::K3, KlGradient::K2),
                _ => panic!("no such mode: {name}"),
            }
            let error = error(&batch["inputs"], expected, loss == "kl", &config);
            println!("verl {name:28} {error:.1e}");
            assert!(error < 1e-5, "{name}: {error:e}");
        }
    }
}

fn close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{what}: {got} {expected}");
    }
}

#[test]
fn advantages_equal_those_of_trl() {
    for case in read("trl.json")["advantages"].as_array().unwrap() {
        let (rewards, weights) = (numbers(&case["rewards"]), numbers(&case["weights"]));
        let group_size = case["group_size"].as_u64().unwrap() as usize;
        let got = if case["how"] == "normalize_then_sum" {
            per_reward_advantages(&rewards, &weights, group_size, 1e-4).unwrap()
        } else {
            let scale = match case["scale"].as_str().unwrap() {
                "group" => Scale::Group,
                "batch" => Scale::Batch,
                _ => Scale::None,
            };
            let config = AdvantageConfig { scale, ..Default::default() };
            advantages(&weighted_rewards(&rewards, &weights).unwrap(), group_size, &config).unwrap()
        };
        let mut expected = numbers(&case["advantages"]);
        if case["how"] == "normalize_then_sum" {
            // TRL moves a group of equal rewards by the batch's mean, where missing rewards leave one; equal rewards give 0 here.
            let kinds = weights.len();
            for (group, expected) in rewards.chunks(group_size * kinds).zip(expected.chunks_mut(group_size)) {
                let column = |k: usize| group.iter().skip(k).step_by(kinds).copied().collect::<Vec<_>>();
                if (0..kinds).all(|k| vr1_grpo::teaches_nothing(&column(k))) {
                    expected.fill(0.0);
                }
            }
        }
        close(&got, &expected, &case.to_string());
    }
}

#[test]
fn advantages_equal_those_of_verl() {
    for case in read("verl.json")["advantages"].as_array().unwrap() {
        let rewards = numbers(&case["rewards"]);
        let tokens: Vec<usize> = numbers(&case["tokens"]).iter().map(|&n| n as usize).collect();
        let group_size = case["group_size"].as_u64().unwrap() as usize;
        let run = |config| advantages(&rewards, group_size, &config).unwrap();
        let verl = Compat::Verl.advantages();
        close(&run(verl), &numbers(&case["grpo"]), "grpo");
        let centred = run(AdvantageConfig { scale: Scale::None, ..verl });
        close(&centred, &numbers(&case["dr_grpo"]), "dr_grpo");
        let rloo = AdvantageConfig { scale: Scale::None, baseline: Baseline::LeaveOneOut, ..verl };
        close(&run(rloo), &numbers(&case["rloo"]), "rloo");
        close(&whiten_by_tokens(&centred, &tokens).unwrap(), &numbers(&case["reinforce++ baseline"]), "baseline");

        let mut token_rewards = vec![0.0; 12 * 5];
        let mask: Vec<bool> = (0..60).map(|i| i % 5 < tokens[i / 5]).collect();
        (0..12).for_each(|i| token_rewards[i * 5 + tokens[i] - 1] = rewards[i]);
        let returns = returns_to_go(&token_rewards, &mask, 5, 0.9).unwrap();
        let counts: Vec<usize> = mask.iter().map(|&counted| usize::from(counted)).collect();
        let mut whitened = whiten_by_tokens(&returns, &counts).unwrap();
        whitened.iter_mut().zip(&mask).filter(|(_, counted)| !**counted).for_each(|(value, _)| *value = 0.0);
        close(&whitened, &numbers(&case["reinforce++"]), "reinforce++");
    }
}

#[test]
fn the_bounds_of_verl_hold_at_distant_policies() {
    let far = Tensor::from_slice2(&[[-100f32, -1.0]]).set_requires_grad(true);
    let near = Tensor::from_slice2(&[[-1f32, -100.0]]);
    let (advantages, mask) = (Tensor::from_slice(&[-1f32]), Tensor::from_slice2(&[[1i64, 1]]));
    let config = GrpoConfig { beta: 1.0, ..Compat::Verl.grpo() };
    let (loss, stats) = vr1_grpo::grpo_loss(&far, &near, Some(&near), &advantages, &mask, &config).unwrap();
    // Ratios e⁻²⁰ (clipped to 0.8) and e²⁰ (dual clip: 3); k3 of ±20 are 10 (bounded) twice.
    assert!((loss.double_value(&[]) - (0.8 + 3.0 + 10.0 + 10.0) / 2.0).abs() < 1e-5);
    assert!(stats.ratio_max < 4.9e8 && loss.kind() == Kind::Float);
}
