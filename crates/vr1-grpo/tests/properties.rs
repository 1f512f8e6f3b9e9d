//! Invariants of advantages and losses, on drawn inputs.
#![cfg(feature = "tch")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use tch::{Kind, Tensor};
use vr1_grpo::{
    Aggregation, CispoCap, EmptyRows, GrpoConfig, Importance, KlEstimator, KlWeight, Objective, Scale,
    group_advantages, grpo_loss, per_reward_advantages,
};

fn scales() -> impl Strategy<Value = Scale> {
    prop_oneof![Just(Scale::Group), Just(Scale::Batch), Just(Scale::None)]
}

fn configs() -> impl Strategy<Value = GrpoConfig> {
    let objective = prop_oneof![
        3 => Just(Objective::Clip),
        1 => Just(Objective::Cispo { cap: CispoCap::Around }),
        1 => Just(Objective::SAPO),
        1 => Just(Objective::VESPO),
        1 => Just(Objective::Unclipped),
        1 => Just(Objective::Reinforce),
    ];
    let importance = prop_oneof![
        Just(Importance::Token),
        Just(Importance::Sequence),
        Just(Importance::SequenceToken),
        Just(Importance::SequenceProduct)
    ];
    let aggregation = prop_oneof![
        Just(Aggregation::Sequence),
        Just(Aggregation::Token),
        Just(Aggregation::Constant(5)),
        Just(Aggregation::SequenceSum)
    ];
    let kl = prop_oneof![Just(KlEstimator::K1), Just(KlEstimator::K2), Just(KlEstimator::K3)];
    let weight = prop_oneof![Just(KlWeight::One), Just(KlWeight::Ratio)];
    let rows = prop_oneof![Just(EmptyRows::Counted), Just(EmptyRows::Skipped)];
    let limits = (prop::option::of(1.5..4.0), prop::option::of(1.2..4.0));
    (objective, importance, aggregation, kl, weight, rows, limits, 0.0..0.3).prop_map(
        |(objective, importance, aggregation, kl, kl_weight, empty_rows, (delta, dual_clip), beta)| GrpoConfig {
            objective,
            importance,
            aggregation,
            kl,
            kl_weight,
            empty_rows,
            delta,
            dual_clip,
            beta,
            ..GrpoConfig::default()
        },
    )
}

const B: usize = 3;
const T: usize = 4;

/// Log-probabilities of policy, old policy and reference, advantages, lengths.
type Batch = (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>, Vec<usize>);

fn batches() -> impl Strategy<Value = Batch> {
    let many = |range: std::ops::Range<f64>, n: usize| prop::collection::vec(range, n);
    let lengths = prop::collection::vec(0..=T, B).prop_filter("some token", |lengths| lengths.iter().any(|&n| n > 0));
    (many(-3.0..-0.01, B * T), many(-0.6..0.6, B * T), many(-0.6..0.6, B * T), many(-2.0..2.0, B), lengths)
}

struct Tensors {
    logprobs: Tensor,
    old: Tensor,
    reference: Tensor,
    advantages: Tensor,
    mask: Tensor,
}

fn tensors((logprobs, old, reference, advantages, lengths): &Batch) -> Tensors {
    let grid = |values: &[f64]| Tensor::from_slice(values).view([B as i64, T as i64]);
    let logprobs = grid(logprobs);
    let mask: Vec<i64> = (0..B * T).map(|i| i64::from(i % T < lengths[i / T])).collect();
    Tensors {
        old: &logprobs + grid(old),
        reference: &logprobs + grid(reference),
        advantages: Tensor::from_slice(advantages),
        mask: Tensor::from_slice(&mask).view([B as i64, T as i64]),
        logprobs,
    }
}

fn value_and_gradient(t: &Tensors, config: &GrpoConfig) -> (f64, Tensor) {
    let leaf = t.logprobs.copy().set_requires_grad(true);
    let (old, reference) = (t.old.copy().set_requires_grad(true), t.reference.copy().set_requires_grad(true));
    let advantages = t.advantages.copy().set_requires_grad(true);
    let (loss, _) = grpo_loss(&leaf, &old, Some(&reference), &advantages, &t.mask, config).unwrap();
    loss.backward();
    assert!([old, reference, advantages].iter().all(|tensor| !tensor.grad().defined()), "a gradient beside logprobs");
    (loss.double_value(&[]), leaf.grad())
}

fn far(a: f64, b: f64) -> bool {
    (a - b).abs() > 1e-9 * (1.0 + a.abs() + b.abs())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn permuting_a_group_permutes_its_advantages(rewards in prop::collection::vec(-5.0f32..5.0, 12), by in 1usize..4, scale in scales()) {
        let plain = group_advantages(&rewards, 4, scale).unwrap();
        let mut turned = rewards.clone();
        turned.chunks_mut(4).for_each(|group| group.rotate_left(by));
        let mut expected = plain;
        expected.chunks_mut(4).for_each(|group| group.rotate_left(by));
        for (got, expected) in group_advantages(&turned, 4, scale).unwrap().iter().zip(&expected) {
            prop_assert!((got - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn scaling_and_shifting_rewards_leaves_group_advantages(
        rewards in prop::collection::vec(-5.0f32..5.0, 8), scale in 1.0f32..8.0, shift in -3.0f32..3.0,
    ) {
        // Up to ε = 1e-4, which weighs less the larger the spread.
        let spread = |group: &[f32]| group.iter().fold(f32::MIN, |a, &b| a.max(b)) - group.iter().fold(f32::MAX, |a, &b| a.min(b));
        prop_assume!(rewards.chunks(4).all(|group| spread(group) > 0.5));
        let moved: Vec<f32> = rewards.iter().map(|reward| reward * scale + shift).collect();
        let (plain, moved) = (group_advantages(&rewards, 4, Scale::Group).unwrap(), group_advantages(&moved, 4, Scale::Group).unwrap());
        for (a, b) in plain.iter().zip(&moved) {
            prop_assert!((a - b).abs() < 2e-3, "{a} {b}");
        }
    }

    #[test]
    fn advantages_of_a_group_sum_to_zero(rewards in prop::collection::vec(-5.0f32..5.0, 12), scale in scales()) {
        for group in group_advantages(&rewards, 4, scale).unwrap().chunks(4) {
            prop_assert!(group.iter().sum::<f32>().abs() < 1e-4);
        }
    }

    #[test]
    fn equal_rewards_of_every_kind_give_exactly_zero(a in -5.0f32..5.0, b in -5.0f32..5.0, other in prop::collection::vec(-5.0f32..5.0, 8)) {
        let mut rewards = [a, b].repeat(4);
        rewards.extend(&other);
        prop_assert_eq!(&per_reward_advantages(&rewards, &[0.9, 0.1], 4, 1e-4).unwrap()[..4], &[0.0; 4]);
    }

    #[test]
    fn padding_changes_nothing(batch in batches(), config in configs(), filler in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), -9.0..9.0]) {
        let mut t = tensors(&batch);
        let (loss, gradient) = value_and_gradient(&t, &config);
        let masked = t.mask.eq(0);
        for tensor in [&mut t.logprobs, &mut t.old, &mut t.reference] {
            *tensor = tensor.masked_fill(&masked, filler);
        }
        let (again, gradient_again) = value_and_gradient(&t, &config);
        prop_assert_eq!(loss, again);
        prop_assert_eq!(&gradient, &gradient_again);
        prop_assert_eq!(gradient.masked_select(&masked).abs().sum(Kind::Double).double_value(&[]), 0.0);
    }

    #[test]
    fn permuting_the_batch_changes_nothing(batch in batches(), config in configs()) {
        let t = tensors(&batch);
        let turn = |tensor: &Tensor| tensor.roll([1], [0]);
        let turned = Tensors {
            logprobs: turn(&t.logprobs), old: turn(&t.old), reference: turn(&t.reference),
            advantages: turn(&t.advantages), mask: turn(&t.mask),
        };
        let ((a, gradient), (b, turned)) = (value_and_gradient(&t, &config), value_and_gradient(&turned, &config));
        prop_assert!(!far(a, b));
        prop_assert!((turn(&gradient) - turned).abs().max().double_value(&[]) < 1e-12);
    }

    #[test]
    fn gradients_agree_with_finite_differences(batch in batches(), config in configs()) {
        // Detached weights (CISPO, VESPO, GSPO-token) make the gradient another one than the derivative, by definition.
        let detached = matches!(config.objective, Objective::Cispo { .. } | Objective::Vespo { .. });
        prop_assume!(!detached && config.importance != Importance::SequenceToken);
        let mut t = tensors(&batch);
        let (_, gradient) = value_and_gradient(&t, &config);
        let plain = t.logprobs.copy();
        for i in 0..(B * T) as i64 {
            let (row, column) = (i / T as i64, i % T as i64);
            let mut moved = |by: f64| {
                t.logprobs = plain.copy();
                let _ = t.logprobs.get(row).get(column).g_add_scalar_(by);
                value_and_gradient(&t, &config).0
            };
            let (up, down, middle) = (moved(1e-6), moved(-1e-6), moved(0.0));
            let (right, left) = ((up - middle) / 1e-6, (middle - down) / 1e-6);
            let got = gradient.double_value(&[row, column]);
            // At a kink of a clip either side's derivative will do.
            let error = |expected: f64| (got - expected).abs() / (1.0 + expected.abs());
            prop_assert!(error(right).min(error(left)) < 1e-4, "{got} {left} {right}");
        }
    }

    #[test]
    fn a_clipped_token_has_no_gradient(batch in batches()) {
        let config = GrpoConfig { beta: 0.0, ..GrpoConfig::default() };
        let t = tensors(&batch);
        let (_, gradient) = value_and_gradient(&t, &config);
        let ratio = (&t.logprobs - &t.old).exp();
        let advantages = t.advantages.unsqueeze(1);
        let cut = ratio.lt(0.8).logical_and(&advantages.lt(0.0)).logical_or(&ratio.gt(1.2).logical_and(&advantages.gt(0.0)));
        prop_assert_eq!(gradient.masked_select(&cut).abs().sum(Kind::Double).double_value(&[]), 0.0);
        let free = cut.logical_not().logical_and(&t.mask.ne(0)).logical_and(&advantages.ne(0.0));
        prop_assert!(gradient.masked_select(&free).ne(0.0).all().int64_value(&[]) == 1);
    }
}
