//! Whatever is handed in, the answer is an error or a finite loss with a finite gradient: never a panic, never NaN.
#![cfg(feature = "tch")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tch::{Kind, Tensor};
use vr1_grpo::{
    AdvantageConfig, Aggregation, Baseline, CispoCap, EntropyMask, Error, Extras, GroupOfOne, GrpoConfig, Importance,
    KlEstimator, KlGradient, KlWeight, Normalizer, Objective, SamplerCorrection, Scale, advantages,
    advantages_by_group, entropy_threshold, grpo_loss, grpo_loss_with, mask_truncated, per_reward_advantages,
    per_reward_advantages_by_group, returns_to_go, weighted_rewards, whiten_by_tokens,
};

const ODD: [f64; 11] =
    [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1e5, -1e5, 3.4e38, -3.4e38, 1e-45, 1e300];

/// Mostly a number as it should be, sometimes anything.
fn number(usual: std::ops::Range<f64>) -> impl Strategy<Value = f64> {
    prop_oneof![9 => usual, 1 => pick(&ODD)]
}

fn maybe(usual: std::ops::Range<f64>) -> impl Strategy<Value = Option<f64>> {
    prop::option::weighted(0.3, number(usual))
}

fn pick<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

/// Values of a tensor, cut to its size; its shape, if it is not the one that goes with the others; its kind.
type Drawn = (Vec<f64>, Option<Vec<i64>>, Kind);

fn drawn(usual: std::ops::Range<f64>, kinds: &[Kind]) -> impl Strategy<Value = Drawn> + use<> {
    let shape = prop::option::weighted(0.04, prop::collection::vec(0i64..4, 0..4));
    let kind = prop_oneof![12 => pick(kinds), 1 => pick(&[Kind::Half, Kind::Int64, Kind::Bool, Kind::ComplexFloat])];
    // So seldom that most tensors are without.
    let value = prop_oneof![150 => usual, 1 => pick(&ODD)];
    (prop::collection::vec(value, 64), shape, kind)
}

fn tensor((values, shape, kind): &Drawn, usual: &[i64]) -> Tensor {
    let shape = shape.as_deref().unwrap_or(usual);
    let count = shape.iter().product::<i64>() as usize;
    Tensor::from_slice(&values[..count]).view(shape).to_kind(*kind)
}

fn objectives() -> impl Strategy<Value = Objective> {
    prop_oneof![
        4 => Just(Objective::Clip),
        1 => pick(&[CispoCap::Absolute, CispoCap::Around]).prop_map(|cap| Objective::Cispo { cap }),
        1 => (number(0.5..2.0), number(0.5..2.0)).prop_map(|(temperature_positive, temperature_negative)| {
            Objective::Sapo { temperature_positive, temperature_negative }
        }),
        1 => (number(1.0..3.0), number(1.0..3.0)).prop_map(|(k, lambda)| Objective::Vespo {
            k_positive: k, lambda_positive: lambda, k_negative: lambda, lambda_negative: k,
        }),
        1 => Just(Objective::Unclipped),
        1 => Just(Objective::Reinforce),
    ]
}

fn configs() -> impl Strategy<Value = GrpoConfig> {
    let importance = [Importance::Token, Importance::Sequence, Importance::SequenceToken, Importance::SequenceProduct];
    let estimators = [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3, KlEstimator::Absolute];
    let aggregation = prop_oneof![
        Just(Aggregation::Sequence),
        Just(Aggregation::Token),
        Just(Aggregation::SequenceSum),
        (-1i64..9).prop_map(Aggregation::Constant)
    ];
    let normalizer = prop_oneof![
        Just(Normalizer::Local),
        (number(1.0..9.0), number(1.0..9.0)).prop_map(|(sequences, tokens)| Normalizer::Global { sequences, tokens })
    ];
    let mask = prop_oneof![
        Just(EntropyMask::All),
        number(0.1..0.9).prop_map(EntropyMask::Top),
        number(0.0..2.0).prop_map(EntropyMask::AtLeast)
    ];
    let correction = prop_oneof![
        Just(SamplerCorrection::None),
        (maybe(0.0..1.0), number(1.0..4.0)).prop_map(|(min, max)| SamplerCorrection::TokenTruncate { min, max }),
        (maybe(0.0..1.0), number(1.0..4.0)).prop_map(|(min, max)| SamplerCorrection::SequenceMask { min, max })
    ];
    let kl = (pick(&estimators), pick(&[KlWeight::One, KlWeight::Ratio]), pick(&[KlGradient::Own, KlGradient::K2]));
    let choices = (objectives(), pick(&importance), aggregation, normalizer, kl, mask, correction);
    let numbers =
        (number(0.0..0.3), number(0.0..0.5), maybe(0.1..2.0), maybe(2.0..4.0), maybe(2.0..4.0), number(0.0..0.1));
    let bounds = (maybe(1.0..20.0), maybe(1.0..20.0), maybe(1.0..20.0), maybe(0.0..1.0), maybe(1.0..9.0));
    (choices, numbers, bounds).prop_map(|(choices, numbers, bounds)| {
        let (objective, importance, aggregation, normalizer, kl, entropy_mask, sampler_correction) = choices;
        let (kl, kl_weight, kl_gradient) = kl;
        let (beta, epsilon, epsilon_high, delta, dual_clip, entropy_bonus) = numbers;
        let (kl_log_ratio_bound, kl_bound, log_ratio_bound, off_policy_threshold, entropy_tokens) = bounds;
        GrpoConfig {
            objective,
            importance,
            aggregation,
            normalizer,
            kl,
            kl_weight,
            kl_gradient,
            entropy_mask,
            sampler_correction,
            beta,
            epsilon,
            epsilon_high,
            delta,
            dual_clip,
            entropy_bonus,
            kl_log_ratio_bound,
            kl_bound,
            log_ratio_bound,
            off_policy_threshold,
            entropy_tokens,
            ..GrpoConfig::default()
        }
    })
}

fn all_finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn a_loss_is_finite_and_so_is_its_gradient(
        shape in prop_oneof![9 => Just(vec![3i64, 4]), 1 => prop::collection::vec(0i64..4, 2)],
        logprobs in prop::collection::vec(drawn(-3.0..0.0, &[Kind::Float, Kind::Double, Kind::BFloat16]), 5),
        given_advantages in drawn(-2.0..2.0, &[Kind::Float]), wide in any::<bool>(),
        mask in drawn(0.0..1.5, &[Kind::Int64, Kind::Bool, Kind::Float]),
        present in prop::collection::vec(prop::bool::weighted(0.9), 3),
        config in configs(),
    ) {
        let [new, old, reference, sampler, entropy] = [0, 1, 2, 3, 4].map(|i: usize| tensor(&logprobs[i], &shape));
        let differentiable = matches!(new.kind(), Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double);
        let leaf = new.detach().set_requires_grad(differentiable);
        let given_advantages = tensor(&given_advantages, if wide { &shape } else { &shape[..1] });
        let extras = Extras { entropy: present[0].then_some(&entropy), sampler_logprobs: present[1].then_some(&sampler) };
        let reference = present[2].then_some(&reference);
        let outcome = grpo_loss_with(&leaf, &old, reference, &given_advantages, &tensor(&mask, &shape), extras, &config);
        if let Ok((loss, stats)) = outcome {
            prop_assert!(stats.loss.is_finite() && loss.double_value(&[]).is_finite(), "{stats:?}");
            prop_assert!([stats.ratio_mean, stats.ratio_min, stats.ratio_max, stats.advantage_mean].iter().all(|x| x.is_finite()));
            // (An f16 ends at 65504, and so does its gradient.)
            if loss.requires_grad() && leaf.kind() != Kind::Half {
                loss.backward();
                let gradient = leaf.grad();
                prop_assert!(!gradient.defined() || gradient.isfinite().all().int64_value(&[]) == 1, "{gradient:?} {config:?}");
            }
        }
    }

    #[test]
    fn masks_and_thresholds_are_finite(
        entropy in drawn(0.0..3.0, &[Kind::Float, Kind::Double]), mask in drawn(0.0..1.5, &[Kind::Int64, Kind::Bool]),
        share in number(0.1..0.9), finished in prop::collection::vec(any::<bool>(), 2..4),
    ) {
        let (entropy, mask) = (tensor(&entropy, &[3, 4]), tensor(&mask, &[3, 4]));
        if let Ok(threshold) = entropy_threshold(&entropy, &mask, share) {
            prop_assert!(threshold.is_finite());
        }
        if let Ok(cut) = mask_truncated(&mask, &finished) {
            prop_assert_eq!(cut.size(), mask.size());
        }
    }

    #[test]
    fn advantages_are_finite(
        rewards in prop::collection::vec(number(-1.0..1.0), 0..13), weights in prop::collection::vec(number(0.0..1.0), 0..4),
        group_size in 0usize..7, epsilon in number(0.0..1e-3),
        scale in pick(&[Scale::Group, Scale::Batch, Scale::None]),
        baseline in pick(&[Baseline::GroupMean, Baseline::LeaveOneOut, Baseline::BatchMean, Baseline::None]),
        group_of_one in pick(&[GroupOfOne::Refused, GroupOfOne::RawReward]),
        tokens in prop::collection::vec(0usize..5, 0..13), mut sizes in prop::collection::vec(1usize..5, 0..4), fits in any::<bool>(),
    ) {
        let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        let (rewards, weights) = (narrow(&rewards), narrow(&weights));
        let config = AdvantageConfig { baseline, scale, epsilon, group_of_one };
        if fits {
            sizes.extend(rewards.len().checked_sub(sizes.iter().sum()));
        }
        for outcome in [
            advantages(&rewards, group_size, &config),
            per_reward_advantages(&rewards, &weights, group_size, epsilon),
            advantages_by_group(&rewards, &sizes, &config),
            per_reward_advantages_by_group(&rewards, &weights, &sizes, epsilon),
            whiten_by_tokens(&rewards, &tokens),
            returns_to_go(&rewards, &tokens.iter().map(|n| n % 2 == 1).collect::<Vec<_>>(), group_size, epsilon * 1e3),
        ].into_iter().flatten() {
            prop_assert!(all_finite(&outcome), "{outcome:?}");
        }
        if let Ok(sums) = weighted_rewards(&rewards, &weights) {
            // NaN stands where no reward applies, and nowhere else.
            for (sum, row) in sums.iter().zip(rewards.chunks(weights.len())) {
                prop_assert!(sum.is_finite() || sum.is_nan() && row.iter().all(|reward| reward.is_nan()));
            }
        }
    }
}

#[test]
fn a_part_without_a_position_adds_nothing_and_a_whole_without_one_is_an_error() {
    let f32 = (Kind::Float, tch::Device::Cpu);
    for shape in [[0, 3], [2, 0], [0, 0]] {
        let (empty, none) = (Tensor::zeros(shape, f32), Tensor::zeros(shape[0], f32));
        let config = GrpoConfig { beta: 0.0, ..Default::default() };
        let whole = grpo_loss(&empty, &empty, None, &none, &empty, &config);
        assert!(matches!(whole, Err(Error::EmptyMask)), "{shape:?}");
        let config = GrpoConfig { normalizer: Normalizer::Global { sequences: 2.0, tokens: 6.0 }, ..config };
        let (loss, stats) = grpo_loss(&empty, &empty, None, &none, &empty, &config).unwrap();
        assert_eq!((loss.double_value(&[]), stats.tokens, stats.ratio_mean), (0.0, 0, 1.0));
    }
}

#[test]
fn a_wrong_rank_names_the_tensor_and_its_shape() {
    let (flat, mask) = (Tensor::from_slice(&[-1f32, -2.0]), Tensor::from_slice(&[1i64, 1]));
    let config = GrpoConfig { beta: 0.0, ..Default::default() };
    let error = grpo_loss(&flat, &flat, None, &flat, &mask, &config).unwrap_err().to_string();
    assert_eq!(error, "`logprobs` must have 2 dimension(s), but its shape is [2]");
    let (square, cube) = (Tensor::from_slice2(&[[-1f32, -2.0]]), Tensor::from_slice(&[1f32, 2.0]).view([1, 2, 1]));
    let error = grpo_loss(&square, &square, None, &cube, &mask.view([1, 2]), &config).unwrap_err().to_string();
    assert_eq!(error, "`advantages` must have shape [1] to go with `logprobs`, but its shape is [1, 2, 1]");
}

#[test]
fn a_tensor_that_is_no_tensor_is_an_error() {
    let (good, mask) = (Tensor::from_slice2(&[[-1f32]]), Tensor::from_slice2(&[[1i64]]));
    let (advantages, undefined) = (Tensor::from_slice(&[1f32]), Tensor::new());
    let config = GrpoConfig { beta: 0.0, ..Default::default() };
    assert!(grpo_loss(&undefined, &good, None, &advantages, &mask, &config).is_err());
    assert!(grpo_loss(&good, &undefined, None, &advantages, &mask, &config).is_err());
    assert!(grpo_loss(&good, &good, None, &undefined, &mask, &config).is_err());
    assert!(grpo_loss(&good, &good, None, &advantages, &undefined, &config).is_err());
}

#[test]
fn a_bound_on_the_kl_estimate_bounds_its_gradient_too() {
    let logprobs = Tensor::from_slice2(&[[-200f32, -1.0]]).set_requires_grad(true);
    let (reference, mask) = (Tensor::from_slice2(&[[-1f32, -1.0]]), Tensor::from_slice2(&[[1i64, 1]]));
    let config = GrpoConfig { beta: 1.0, kl_bound: Some(10.0), ..Default::default() };
    let (loss, _) =
        grpo_loss(&logprobs, &logprobs.detach(), Some(&reference), &Tensor::from_slice(&[0f32]), &mask, &config)
            .unwrap();
    loss.backward();
    assert_eq!((loss.double_value(&[]), logprobs.grad().double_value(&[0, 0])), (5.0, 0.0));
}

#[test]
fn weights_and_rewards_that_are_no_numbers_are_not_taken_for_missing_ones() {
    assert!(matches!(weighted_rewards(&[1.0, 2.0], &[1.0, f32::NAN]), Err(Error::Setting { field: "weights", .. })));
    assert!(matches!(weighted_rewards(&[f32::INFINITY], &[0.0]), Err(Error::InfiniteReward { index: 0, .. })));
    assert!(matches!(
        per_reward_advantages(&[1.0, 0.0], &[f32::INFINITY], 2, 1e-4),
        Err(Error::Setting { field: "weights", .. })
    ));
    assert!(matches!(
        whiten_by_tokens(&[1.0, f32::NAN], &[1, 1]),
        Err(Error::NonFinite { name: "advantages", count: 1 })
    ));
    assert!(matches!(
        returns_to_go(&[f32::NAN, 0.0], &[true, true], 2, 1.0),
        Err(Error::NonFinite { name: "token_rewards", count: 1 })
    ));
    assert!(matches!(
        advantages(
            &[f32::MAX, f32::MIN, f32::MIN, f32::MIN],
            4,
            &AdvantageConfig { scale: Scale::None, ..Default::default() }
        ),
        Err(Error::TooLarge { name: "advantage", index: 0, .. })
    ));
}
