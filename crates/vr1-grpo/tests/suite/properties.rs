//! Invariants of advantages and losses, on drawn inputs.
#![cfg(feature = "tch")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use tch::{Kind, Tensor};
use vr1_grpo::{
    AdvantageConfig, Aggregation, Baseline, CispoCap, EmptyRows, EntropyMask, Extras, GrpoConfig, GrpoStats,
    Importance, KlEstimator, KlGradient, KlWeight, Normalizer, Objective, SamplerCorrection, Scale, advantages,
    entropy_threshold, group_advantages, grpo_loss_with, per_reward_advantages,
};

fn pick<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

const SCALES: [Scale; 3] = [Scale::Group, Scale::Batch, Scale::None];

fn configs() -> impl Strategy<Value = GrpoConfig> {
    let objective = prop_oneof![
        3 => Just(Objective::Clip),
        1 => Just(Objective::Cispo { cap: CispoCap::Around }),
        1 => Just(Objective::SAPO),
        1 => Just(Objective::VESPO),
        1 => Just(Objective::Unclipped),
        1 => Just(Objective::Reinforce),
    ];
    let importance = [Importance::Token, Importance::Sequence, Importance::SequenceToken, Importance::SequenceProduct];
    let aggregation = [Aggregation::Sequence, Aggregation::Token, Aggregation::Constant(5), Aggregation::SequenceSum];
    let kl = (
        pick(&[KlEstimator::K1, KlEstimator::K2, KlEstimator::K3, KlEstimator::Absolute]),
        pick(&[KlWeight::One, KlWeight::Ratio]),
        pick(&[KlGradient::Own, KlGradient::Own, KlGradient::K2]),
    );
    let correction = [
        SamplerCorrection::None,
        SamplerCorrection::TokenTruncate { min: None, max: 1.2 },
        SamplerCorrection::TokenMask { min: Some(0.8), max: 1.2 },
        SamplerCorrection::SequenceTruncate { min: None, max: 1.5 },
        SamplerCorrection::SequenceMask { min: Some(0.5), max: 2.0 },
    ];
    let limits = (prop::option::of(1.5..4.0), prop::option::of(1.2..4.0), prop::option::of(0.3..0.6));
    let entropy = (prop_oneof![2 => Just(EntropyMask::All), 1 => (0.2..0.9).prop_map(EntropyMask::Top)], 0.0..0.1);
    let rows = pick(&[EmptyRows::Counted, EmptyRows::Skipped]);
    let choices = (objective, pick(&importance), pick(&aggregation), kl, pick(&correction), rows);
    (choices, limits, entropy, 0.0..0.3, prop::option::of(-0.1..0.3)).prop_map(
        |(choices, (delta, dual_clip, log_ratio_bound), (entropy_mask, entropy_bonus), beta, off_policy_threshold)| {
            let (objective, importance, aggregation, (kl, kl_weight, kl_gradient), sampler_correction, empty_rows) =
                choices;
            GrpoConfig {
                objective,
                importance,
                aggregation,
                kl,
                kl_weight,
                kl_gradient,
                sampler_correction,
                empty_rows,
                delta,
                dual_clip,
                log_ratio_bound,
                entropy_mask,
                entropy_bonus,
                beta,
                off_policy_threshold,
                ..GrpoConfig::default()
            }
        },
    )
}

const B: usize = 3;
const T: usize = 4;

/// Log-probabilities; how far from them those of the old policy, the reference and the sampler are; entropies; advantages; lengths.
type Drawn = (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>, Vec<usize>);

fn batches() -> impl Strategy<Value = Drawn> {
    let many = |range: std::ops::Range<f64>, n: usize| prop::collection::vec(range, n);
    let lengths = prop::collection::vec(0..=T, B).prop_filter("some token", |lengths| lengths.iter().any(|&n| n > 0));
    let far = || many(-0.6..0.6, B * T);
    (many(-3.0..-0.01, B * T), far(), far(), far(), many(0.0..2.0, B * T), many(-2.0..2.0, B), lengths)
}

struct Batch {
    logprobs: Tensor,
    old: Tensor,
    reference: Tensor,
    sampler: Tensor,
    entropy: Tensor,
    advantages: Tensor,
    mask: Tensor,
}

impl Batch {
    fn of((logprobs, old, reference, sampler, entropy, advantages, lengths): &Drawn) -> Self {
        let grid = |values: &[f64]| Tensor::from_slice(values).view([B as i64, T as i64]);
        let logprobs = grid(logprobs);
        let mask: Vec<i64> = (0..B * T).map(|i| i64::from(i % T < lengths[i / T])).collect();
        Self {
            old: &logprobs + grid(old),
            reference: &logprobs + grid(reference),
            sampler: &logprobs + grid(sampler),
            entropy: grid(entropy),
            advantages: Tensor::from_slice(advantages),
            mask: Tensor::from_slice(&mask).view([B as i64, T as i64]),
            logprobs,
        }
    }

    fn map(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            logprobs: f(&self.logprobs),
            old: f(&self.old),
            reference: f(&self.reference),
            sampler: f(&self.sampler),
            entropy: f(&self.entropy),
            advantages: f(&self.advantages),
            mask: f(&self.mask),
        }
    }

    /// The same with `filler` wherever the mask is 0.
    fn spoiled(&self, filler: f64) -> Self {
        let masked = self.mask.eq(0);
        let spoil = |tensor: &Tensor| {
            if tensor.size() == masked.size() && tensor.kind() == Kind::Double {
                tensor.masked_fill(&masked, filler)
            } else {
                tensor.copy()
            }
        };
        self.map(spoil)
    }

    /// The statistics, and the gradients of log-probabilities and entropies. Nothing else may have one.
    fn run(&self, config: &GrpoConfig) -> (GrpoStats, [Tensor; 2]) {
        let leaf = |tensor: &Tensor| tensor.copy().set_requires_grad(true);
        let b = Self {
            mask: self.mask.copy(),
            ..Self::map(self, |tensor| if tensor.kind() == Kind::Double { leaf(tensor) } else { tensor.copy() })
        };
        let extras = Extras { entropy: Some(&b.entropy), sampler_logprobs: Some(&b.sampler) };
        let (loss, stats) =
            grpo_loss_with(&b.logprobs, &b.old, Some(&b.reference), &b.advantages, &b.mask, extras, config).unwrap();
        loss.backward();
        let constant = [&b.old, &b.reference, &b.sampler, &b.advantages];
        assert!(
            constant.iter().all(|tensor| !tensor.grad().defined()),
            "a gradient beside log-probabilities and entropies"
        );
        assert_eq!(stats.loss, loss.double_value(&[]));
        let gradient = |tensor: &Tensor| if tensor.grad().defined() { tensor.grad() } else { tensor.zeros_like() };
        (stats, [gradient(&b.logprobs), gradient(&b.entropy)])
    }
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

fn far(a: f64, b: f64) -> bool {
    (a - b).abs() > 1e-9 * (1.0 + a.abs() + b.abs())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn permuting_a_group_permutes_its_advantages(rewards in prop::collection::vec(-5.0f32..5.0, 12), by in 1usize..4, scale in pick(&SCALES)) {
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
    fn advantages_of_a_group_sum_to_zero(rewards in prop::collection::vec(-5.0f32..5.0, 12), scale in pick(&SCALES)) {
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
    fn a_scale_of_rewards_leaves_every_divided_advantage(
        rewards in prop::collection::vec(0u8..8, 8), scale in 1u8..6, baseline in pick(&[Baseline::GroupMean, Baseline::LeaveOneOut]),
    ) {
        // With ε = 0 the division is exact but for rounding.
        let config = AdvantageConfig { baseline, epsilon: 0.0, ..Default::default() };
        let plain: Vec<f32> = rewards.iter().map(|&reward| f32::from(reward)).collect();
        let scaled: Vec<f32> = plain.iter().map(|reward| reward * f32::from(scale)).collect();
        for (a, b) in advantages(&plain, 4, &config).unwrap().iter().zip(advantages(&scaled, 4, &config).unwrap()) {
            prop_assert!((a - b).abs() < 1e-6);
        }
    }

    #[test]
    fn padding_changes_nothing(drawn in batches(), config in configs(), filler in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), -9.0..9.0]) {
        let b = Batch::of(&drawn);
        let (stats, gradients) = b.run(&config);
        let (again, gradients_again) = b.spoiled(filler).run(&config);
        prop_assert_eq!(stats, again);
        for (gradient, gradient_again) in gradients.iter().zip(&gradients_again) {
            prop_assert_eq!(gradient, gradient_again);
            prop_assert_eq!(gradient.masked_select(&b.mask.eq(0)).abs().sum(Kind::Double).double_value(&[]), 0.0);
        }
    }

    #[test]
    fn micro_batches_add_up_to_the_batch(drawn in batches(), config in configs(), cut in 1i64..3) {
        let b = Batch::of(&drawn);
        let (stats, gradients) = b.run(&config);
        // What the whole batch knows: its counts, and the threshold of its entropies.
        let sequences = if config.empty_rows == EmptyRows::Skipped { stats.sequences as f64 } else { B as f64 };
        let entropy_mask = match config.entropy_mask {
            EntropyMask::Top(share) => EntropyMask::AtLeast(entropy_threshold(&b.entropy, &b.mask, share).unwrap()),
            other => other,
        };
        let kept = match entropy_mask {
            EntropyMask::AtLeast(threshold) => b.entropy.ge(threshold).logical_and(&b.mask.ne(0)).sum(Kind::Double).double_value(&[]),
            _ => stats.tokens as f64,
        };
        let normalizer = Normalizer::Global { sequences, tokens: stats.tokens as f64 };
        let config = GrpoConfig { normalizer, entropy_mask, entropy_tokens: Some(kept), ..config };
        let parts = [(0, cut), (cut, B as i64 - cut)].map(|(start, size)| b.map(|tensor| tensor.narrow(0, start, size)).run(&config));
        prop_assert!(!far(parts.iter().map(|part| part.0.loss).sum(), stats.loss));
        for (i, gradient) in gradients.iter().enumerate() {
            let together = Tensor::cat(&[&parts[0].1[i], &parts[1].1[i]], 0);
            prop_assert!(distance(&together, gradient) < 1e-10);
        }
    }

    #[test]
    fn permuting_the_batch_changes_nothing(drawn in batches(), config in configs()) {
        let b = Batch::of(&drawn);
        let turn = |tensor: &Tensor| tensor.roll([1], [0]);
        let ((a, gradients), (b, turned)) = (b.run(&config), b.map(turn).run(&config));
        prop_assert!(!far(a.loss, b.loss));
        prop_assert!(gradients.iter().zip(&turned).all(|(plain, turned)| distance(&turn(plain), turned) < 1e-12));
    }

    #[test]
    fn on_policy_the_ratio_is_exactly_one_and_nothing_is_clipped(drawn in batches(), config in configs()) {
        let mut b = Batch::of(&drawn);
        b.old = b.logprobs.copy();
        let (stats, _) = b.run(&config);
        prop_assert_eq!((stats.ratio_mean, stats.ratio_min, stats.ratio_max), (1.0, 1.0, 1.0));
        prop_assert_eq!((stats.clip_ratio, stats.old_kl), (0.0, 0.0));
    }

    #[test]
    fn gradients_agree_with_finite_differences(drawn in batches(), config in configs()) {
        // A detached weight (CISPO, VESPO, GSPO-token, the gradient of k2) makes the gradient another one than the derivative, by definition.
        let detached = matches!(config.objective, Objective::Cispo { .. } | Objective::Vespo { .. });
        prop_assume!(!detached && config.importance != Importance::SequenceToken && config.kl_gradient == KlGradient::Own);
        let b = Batch::of(&drawn);
        let (middle, gradients) = b.run(&config);
        for i in 0..(B * T) as i64 {
            let (row, column) = (i / T as i64, i % T as i64);
            let moved = |by: f64| {
                let b = b.map(Tensor::copy);
                let _ = b.logprobs.get(row).get(column).g_add_scalar_(by);
                b.run(&config).0.loss
            };
            let (right, left) = ((moved(1e-6) - middle.loss) / 1e-6, (middle.loss - moved(-1e-6)) / 1e-6);
            let got = gradients[0].double_value(&[row, column]);
            // At a kink of a clip either side's derivative will do.
            let error = |expected: f64| (got - expected).abs() / (1.0 + expected.abs());
            prop_assert!(error(right).min(error(left)) < 1e-4, "{got} {left} {right}");
        }
    }

    #[test]
    fn a_clipped_token_has_no_gradient(drawn in batches()) {
        let config = GrpoConfig { beta: 0.0, ..GrpoConfig::default() };
        let b = Batch::of(&drawn);
        let (_, [gradient, _]) = b.run(&config);
        let ratio = (&b.logprobs - &b.old).exp();
        let advantages = b.advantages.unsqueeze(1);
        let cut = ratio.lt(0.8).logical_and(&advantages.lt(0.0)).logical_or(&ratio.gt(1.2).logical_and(&advantages.gt(0.0)));
        prop_assert_eq!(gradient.masked_select(&cut).abs().sum(Kind::Double).double_value(&[]), 0.0);
        let free = cut.logical_not().logical_and(&b.mask.ne(0)).logical_and(&advantages.ne(0.0));
        prop_assert!(gradient.masked_select(&free).ne(0.0).all().int64_value(&[]) == 1);
    }
}
