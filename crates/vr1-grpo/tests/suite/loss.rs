//! Properties of the losses that need no reference.
#![cfg(feature = "tch")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use tch::{Device, Kind, Tensor};
use vr1_grpo::{Aggregation, Error, GrpoConfig, Normalizer, grpo_loss};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

struct Batch {
    logprobs: Tensor,
    old: Tensor,
    reference: Tensor,
    advantages: Tensor,
    mask: Tensor,
}

fn batch(seed: i64, b: i64, t: i64) -> Batch {
    tch::manual_seed(seed);
    let logprobs = -Tensor::rand([b, t], F64) * 3.0;
    let old = &logprobs + Tensor::randn([b, t], F64) * 0.3;
    let reference = &logprobs + Tensor::randn([b, t], F64) * 0.3;
    let advantages = Tensor::randn([b], F64);
    let lengths = Tensor::randint_low(1, t + 1, [b, 1], (Kind::Int64, Device::Cpu));
    let mask = Tensor::arange(t, (Kind::Int64, Device::Cpu)).unsqueeze(0).lt_tensor(&lengths).to_kind(Kind::Int64);
    Batch { logprobs, old, reference, advantages, mask }
}

fn run(b: &Batch, config: &GrpoConfig) -> (f64, Tensor) {
    let leaf = b.logprobs.detach().copy().set_requires_grad(true);
    let (loss, stats) = grpo_loss(&leaf, &b.old, Some(&b.reference), &b.advantages, &b.mask, config).unwrap();
    loss.backward();
    assert_eq!(stats.loss, loss.double_value(&[]));
    (stats.loss, leaf.grad())
}

fn aggregations() -> [GrpoConfig; 4] {
    [Aggregation::Sequence, Aggregation::Token, Aggregation::Constant(9), Aggregation::SequenceSum]
        .map(|aggregation| GrpoConfig { aggregation, ..Default::default() })
}

#[test]
fn bad_input_is_an_error_that_names_it() {
    let b = batch(6, 3, 4);
    let config = GrpoConfig::default();
    let call = |b: &Batch, config: &GrpoConfig| {
        grpo_loss(&b.logprobs, &b.old, Some(&b.reference), &b.advantages, &b.mask, config).map(|_| ()).unwrap_err()
    };
    let wrong = Batch { old: b.old.narrow(1, 0, 3), ..batch(6, 3, 4) };
    assert_eq!(
        call(&wrong, &config).to_string(),
        "`old_logprobs` must have shape [3, 4] to go with `logprobs`, but its shape is [3, 3]"
    );
    let wrong = Batch { advantages: Tensor::from_slice(&[1.0, f64::NAN, 0.0]), ..batch(6, 3, 4) };
    assert!(matches!(call(&wrong, &config), Error::NonFinite { name: "advantages", count: 1 }));
    let wrong = Batch { mask: b.mask.zeros_like(), ..batch(6, 3, 4) };
    assert!(matches!(call(&wrong, &config), Error::EmptyMask));
    let wrong = Batch { old: &b.old - 1e5, ..batch(6, 3, 4) };
    assert!(matches!(call(&wrong, &config), Error::Overflow { .. }));
    let missing = grpo_loss(&b.logprobs, &b.old, None, &b.advantages, &b.mask, &config).unwrap_err();
    assert!(matches!(missing, Error::Missing { name: "ref_logprobs", .. }));
}

#[test]
fn a_part_without_a_token_adds_nothing_to_the_whole() {
    let mut b = batch(7, 2, 3);
    b.mask = b.mask.zeros_like();
    let normalizer = Normalizer::Global { sequences: 8.0, tokens: 20.0 };
    for config in aggregations() {
        let (loss, gradient) = run(&b, &GrpoConfig { normalizer, ..config });
        assert_eq!((loss, gradient.abs().sum(Kind::Double).double_value(&[])), (0.0, 0.0));
    }
}

#[test]
fn advantages_may_differ_from_token_to_token() {
    let b = batch(8, 3, 4);
    let mut wide = Batch {
        logprobs: b.logprobs.copy(),
        old: b.old.copy(),
        reference: b.reference.copy(),
        advantages: b.advantages.unsqueeze(1).expand([3, 4], false).copy(),
        mask: b.mask.copy(),
    };
    for config in aggregations() {
        assert_eq!(run(&b, &config), run(&wide, &config));
    }
    wide.advantages = wide.advantages.masked_fill(&wide.mask.eq(0), f64::NAN);
    assert_eq!(run(&b, &GrpoConfig::default()), run(&wide, &GrpoConfig::default()));
}

#[test]
fn settings_out_of_range_name_themselves() {
    let default = GrpoConfig::default();
    let cases = [
        ("beta", GrpoConfig { beta: -1.0, ..default }),
        ("epsilon_high", GrpoConfig { epsilon_high: Some(f64::NAN), ..default }),
        ("delta", GrpoConfig { delta: Some(1.1), ..default }),
        ("dual_clip", GrpoConfig { dual_clip: Some(1.0), ..default }),
        ("aggregation.tokens", GrpoConfig { aggregation: Aggregation::Constant(0), ..default }),
        ("normalizer.tokens", GrpoConfig { normalizer: Normalizer::Global { sequences: 1.0, tokens: 0.0 }, ..default }),
        ("log_ratio_bound", GrpoConfig { log_ratio_bound: Some(0.0), ..default }),
    ];
    for (name, config) in cases {
        assert!(matches!(config.validate(), Err(Error::Setting { field, .. }) if field == name), "{name}");
    }
}
