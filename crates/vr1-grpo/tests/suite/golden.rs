//! Losses, gradients and advantages of the installed TRL 1.16.0, of verl 0.9.1 and of EasyR1, written by `fixtures/generate.py`.
#![cfg(feature = "tch")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use serde_json::Value;
use tch::{Kind, Tensor};
use vr1_grpo::{
    AdvantageConfig, Aggregation, Baseline, Compat, EntropyMask, Extras, GrpoConfig, Importance, KlEstimator,
    KlGradient, KlWeight, Normalizer, Objective, ReinforceConfig, SamplerCorrection, Scale, advantages, grpo_loss_with,
    mask_truncated, per_reward_advantages, reinforce_advantages, returns_to_go, weighted_rewards, whiten_by_tokens,
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

/// Runs a case; the largest error of loss and gradients, relative to the largest value.
fn error(inputs: &Value, expected: &Value, beta_term_only: bool, config: &GrpoConfig) -> f64 {
    let logprobs = tensor(&inputs["logprobs"]).set_requires_grad(true);
    let (entropy, sampler) = (tensor(&inputs["entropy"]).set_requires_grad(true), tensor(&inputs["sampler_logprobs"]));
    let extras = Extras { entropy: Some(&entropy), sampler_logprobs: Some(&sampler) };
    let given = tensor(&inputs["advantages"]);
    let (loss, stats) = grpo_loss_with(
        &logprobs,
        &tensor(&inputs["old_logprobs"]),
        Some(&tensor(&inputs["ref_logprobs"])),
        &if beta_term_only { given.zeros_like() } else { given },
        &tensor(&inputs["mask"]),
        extras,
        config,
    )
    .unwrap();
    loss.backward();
    let distance = |got: &Tensor, expected: &Value| {
        let expected = tensor(expected);
        let scale = expected.abs().max().double_value(&[]);
        ((got - expected).abs().max().double_value(&[]) / scale, scale)
    };
    let (mut worst, scale) = distance(&logprobs.grad(), &expected["gradient"]);
    let value = expected["loss"].as_f64().unwrap();
    worst = worst.max((loss.double_value(&[]) - value).abs() / (value.abs() + scale));
    if let (Some(kl), true) = (expected["kl"].as_f64(), config.beta != 0.0) {
        worst = worst.max((stats.kl - kl).abs() / kl);
    }
    assert_eq!(entropy.grad().defined(), expected["entropy_gradient"].is_array());
    if entropy.grad().defined() {
        worst = worst.max(distance(&entropy.grad(), &expected["entropy_gradient"]).0);
    }
    worst
}

/// Every case of a fixture under its configuration.
fn check(fixture: &str, cases: usize, config: impl Fn(&str, &Value) -> GrpoConfig) {
    let mut seen = 0;
    for batch in read(fixture)["batches"].as_array().unwrap() {
        for (name, expected) in batch["cases"].as_object().unwrap() {
            let kl_alone = fixture == "verl.json" && name.starts_with("kl ");
            let error = error(&batch["inputs"], expected, kl_alone, &config(name, &batch["inputs"]));
            println!("{fixture:12} {name:30} {error:.1e}");
            assert!(error < 1e-5, "{fixture} {name}: {error:e}");
            seen += 1;
        }
    }
    assert_eq!(seen, cases);
}

fn trl_config(name: &str, inputs: &Value) -> GrpoConfig {
    let defaults = Compat::Trl.grpo();
    match name {
        "defaults" => return defaults,
        "defaults reference" => return GrpoConfig { beta: 0.04, ..defaults },
        "defaults sampler" => return GrpoConfig { sampler_correction: Compat::Trl.sampler_correction(), ..defaults },
        _ => {}
    }
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
        "cispo" => GrpoConfig { objective: Compat::Trl.cispo(), epsilon_high: Some(1.3), ..token },
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
            "global" => {
                // Three times the tokens, over two ranks whose gradients are averaged.
                let tokens = tensor(&inputs["mask"]).sum(Kind::Double).double_value(&[]) * 3.0 / 2.0;
                config.normalizer = Normalizer::Global { sequences: 1.0, tokens };
            }
            "unbounded" => {
                config.sampler_correction = SamplerCorrection::TokenTruncate { min: Some(0.9), max: f64::INFINITY };
            }
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
    check("trl.json", 2 * 50 + 1, trl_config);
}

#[test]
fn losses_and_gradients_equal_those_of_verl() {
    let base = GrpoConfig { epsilon_high: Some(0.28), ..Compat::Verl.grpo() };
    check("verl.json", 2 * 27, |name, _| {
        let (loss, mode) = name.split_once(' ').unwrap_or((name, ""));
        let config = match loss {
            "defaults" => Compat::Verl.grpo(),
            "vanilla" => base,
            // verl's GSPO has no dual clip.
            "gspo" => GrpoConfig { importance: Importance::SequenceToken, dual_clip: None, ..base },
            "cispo" => GrpoConfig { objective: Compat::Verl.cispo(), ..base },
            "gpg" => GrpoConfig { objective: Objective::Reinforce, ..base },
            "sapo" => GrpoConfig { objective: Objective::SAPO, ..base },
            "kl" => GrpoConfig { beta: 1.0, objective: Objective::Unclipped, ..base },
            _ => panic!("no such loss: {name}"),
        };
        let corrected = |sampler_correction| GrpoConfig { sampler_correction, ..config };
        match mode {
            "" | "token-mean" => config,
            "seq-mean-token-sum" => GrpoConfig { aggregation: Aggregation::SequenceSum, ..config },
            "seq-mean-token-sum-norm" => GrpoConfig { aggregation: Aggregation::Constant(7), ..config },
            "seq-mean-token-mean" => GrpoConfig { aggregation: Aggregation::Sequence, ..config },
            "token_truncate" => corrected(SamplerCorrection::TokenTruncate { min: None, max: 1.2 }),
            "token_mask" => corrected(SamplerCorrection::TokenMask { min: Some(0.9), max: 1.2 }),
            "sequence_truncate" => corrected(SamplerCorrection::SequenceTruncate { min: None, max: 1.2 }),
            "k1" => GrpoConfig { kl: KlEstimator::K1, ..config },
            "k2" => GrpoConfig { kl: KlEstimator::K2, ..config },
            "k3" => GrpoConfig { kl: KlEstimator::K3, ..config },
            "abs" => GrpoConfig { kl: KlEstimator::Absolute, ..config },
            "k1+" => GrpoConfig { kl: KlEstimator::K1, kl_gradient: KlGradient::K2, ..config },
            "k3+" => GrpoConfig { kl: KlEstimator::K3, kl_gradient: KlGradient::K2, ..config },
            _ => panic!("no such mode: {name}"),
        }
    });
}

#[test]
fn losses_and_gradients_equal_those_of_easyr1() {
    let base = Compat::EasyR1.grpo();
    check("easyr1.json", 2 * 10, |name, _| {
        let (loss, average) = name.split_once(' ').unwrap_or((name, "token"));
        let config = match loss {
            "defaults" | "default" => base,
            "gspo" => GrpoConfig { importance: Importance::Sequence, ..base },
            "gspo_token" => GrpoConfig { importance: Importance::SequenceToken, ..base },
            "cispo" => GrpoConfig { objective: Compat::EasyR1.cispo(), ..base },
            "sapo" => GrpoConfig { objective: Objective::SAPO, ..base },
            _ => panic!("no such loss: {name}"),
        };
        GrpoConfig { aggregation: if average == "seq" { Aggregation::Sequence } else { Aggregation::Token }, ..config }
    });
}

fn close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len());
    let mut worst = 0.0f32;
    for (got, expected) in got.iter().zip(expected) {
        let error = (got - expected).abs() / (1.0 + expected.abs());
        assert!(error <= 1e-5, "{what}: {got} {expected}");
        worst = worst.max(error);
    }
    println!("{what:43.43} {worst:.1e}");
}

#[test]
fn advantages_equal_those_of_trl() {
    for case in read("trl.json")["advantages"].as_array().unwrap() {
        let (rewards, weights) = (numbers(&case["rewards"]), numbers(&case["weights"]));
        let group_size = case["group_size"].as_u64().unwrap() as usize;
        let got = if case["how"] == "normalize_then_sum" {
            per_reward_advantages(&rewards, &weights, group_size, 1e-4).unwrap()
        } else if case["how"] == "leave_one_out" {
            let config = AdvantageConfig { baseline: Baseline::LeaveOneOut, scale: Scale::None, ..Default::default() };
            advantages(&weighted_rewards(&rewards, &weights).unwrap(), group_size, &config).unwrap()
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
fn the_mask_of_truncated_completions_equals_that_of_trl() {
    let case = &read("trl.json")["truncated"];
    let finished: Vec<bool> = case["finished"].as_array().unwrap().iter().map(|x| x.as_bool().unwrap()).collect();
    assert_eq!(mask_truncated(&tensor(&case["mask"]), &finished).unwrap(), tensor(&case["out"]));
}

#[test]
fn advantages_equal_those_of_easyr1() {
    for case in read("easyr1.json")["advantages"].as_array().unwrap() {
        let group_size = case["group_size"].as_u64().unwrap() as usize;
        let got = advantages(&numbers(&case["rewards"]), group_size, &Compat::EasyR1.advantages()).unwrap();
        close(&got, &numbers(&case["grpo"]), "grpo");
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

        // The same by completions without padding.
        let logprobs: Vec<Vec<f32>> = tokens.iter().map(|&n| vec![-1.0; n]).collect();
        let sizes = vec![group_size; 12 / group_size];
        let run = |config: ReinforceConfig| reinforce_advantages(&rewards, &sizes, &logprobs, None, &config).unwrap();
        let discounted = run(ReinforceConfig { gamma: 0.9, ..Default::default() });
        let padded: Vec<f32> =
            discounted.iter().flat_map(|row| (0..5).map(|t| row.get(t).copied().unwrap_or(0.0))).collect();
        close(&padded, &numbers(&case["reinforce++"]), "reinforce++, ragged");
        if group_size > 1 {
            // verl moves a group of equal rewards by the mean of the batch; equal rewards give 0 here.
            let mut expected = numbers(&case["reinforce++ baseline"]);
            for (group, expected) in rewards.chunks(group_size).zip(expected.chunks_mut(group_size)) {
                if vr1_grpo::teaches_nothing(group) {
                    expected.fill(0.0);
                }
            }
            let first: Vec<f32> = run(ReinforceConfig::WITH_BASELINE).iter().map(|row| row[0]).collect();
            close(&first, &expected, "baseline, ragged");
        }
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
