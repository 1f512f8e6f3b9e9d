//! Invariants of the preference losses, on drawn inputs.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use tch::{Kind, Tensor};
use vr1_dpo::{
    Divergence, DpoConfig, DpoLoss, Extras, KtoConfig, KtoLoss, Normalizer, Pair, PairRule, ReferenceFreeConfig,
    ReferenceFreeLoss, dpo_loss_with, kto_loss, length_desensitized, preference_pairs, preference_pairs_by_group,
    reference_free_loss, wpo_weights,
};

const LOSSES: [DpoLoss; 16] = [
    DpoLoss::Sigmoid,
    DpoLoss::SigmoidNorm,
    DpoLoss::Hinge,
    DpoLoss::Ipo,
    DpoLoss::Exo,
    DpoLoss::Nca,
    DpoLoss::Robust,
    DpoLoss::Bco { shift: 0.1 },
    DpoLoss::Sppo,
    DpoLoss::ApoZero,
    DpoLoss::ApoDown,
    DpoLoss::DiscoPop { temperature: 0.05 },
    DpoLoss::ChosenNll,
    DpoLoss::ChosenNllPerPair,
    DpoLoss::Aot,
    DpoLoss::AotUnpaired,
];

fn pick<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

fn configs(losses: &[DpoLoss]) -> impl Strategy<Value = DpoConfig> + use<> {
    let divergences = [Divergence::ReverseKl, Divergence::ForwardKl, Divergence::JensenShannon, Divergence::Alpha(0.5)];
    (pick(losses), pick(&divergences), 0.05..0.5, 0.05..0.4).prop_map(|(loss, divergence, beta, label_smoothing)| {
        let all = DpoConfig { loss, divergence, beta, label_smoothing, ..DpoConfig::default() };
        // A loss refuses what it has no place for.
        let plain = DpoConfig { divergence: Divergence::ReverseKl, ..all };
        let unsmoothed = DpoConfig { label_smoothing: 0.0, ..all };
        let neither = DpoConfig { label_smoothing: 0.0, ..plain };
        [all, plain, unsmoothed, neither].into_iter().find(|config| config.validate().is_ok()).unwrap()
    })
}

const B: usize = 4;

/// Log-probabilities of chosen and rejected completions, how far their references are, their lengths, weights.
type Drawn = (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>);

fn batches() -> impl Strategy<Value = Drawn> {
    let many = |range: std::ops::Range<f64>, n: usize| prop::collection::vec(range, n);
    let tokens = prop::collection::vec((1u8..20).prop_map(f64::from), 2 * B);
    (many(-20.0..-0.5, B), many(-20.0..-0.5, B), many(-2.0..2.0, 2 * B), tokens, many(0.1..2.0, B))
}

#[derive(Debug)]
struct Batch {
    logprobs: [Tensor; 4],
    tokens: [Tensor; 2],
    weights: Tensor,
}

impl Batch {
    fn of((chosen, rejected, far, tokens, weights): &Drawn) -> Self {
        let t = |values: &[f64]| Tensor::from_slice(values);
        let (chosen, rejected) = (t(chosen), t(rejected));
        Self {
            logprobs: [&chosen + t(&far[..B]), &rejected + t(&far[B..]), chosen, rejected],
            tokens: [t(&tokens[..B]), t(&tokens[B..])],
            weights: t(weights),
        }
    }

    fn map(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            logprobs: self.logprobs.each_ref().map(&f),
            tokens: self.tokens.each_ref().map(&f),
            weights: f(&self.weights),
        }
    }

    /// The loss, and the gradients of chosen and rejected log-probabilities. The references may have none.
    fn run(&self, config: &DpoConfig) -> (f64, [Tensor; 2]) {
        let b = self.map(|tensor| tensor.copy().set_requires_grad(true));
        let [chosen, rejected, ref_chosen, ref_rejected] = &b.logprobs;
        let extras = Extras {
            chosen_tokens: Some(&b.tokens[0]),
            rejected_tokens: Some(&b.tokens[1]),
            weights: Some(&b.weights),
        };
        let (loss, stats) = dpo_loss_with([chosen, rejected, ref_chosen, ref_rejected], extras, config).unwrap();
        loss.backward();
        let constant = [ref_chosen, ref_rejected, &b.tokens[0], &b.tokens[1], &b.weights];
        assert!(constant.iter().all(|tensor| !tensor.grad().defined()), "a gradient beside the policy");
        let gradient = |tensor: &Tensor| if tensor.grad().defined() { tensor.grad() } else { tensor.zeros_like() };
        (stats.loss, [gradient(chosen), gradient(rejected)])
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
    fn micro_batches_add_up_to_the_batch(drawn in batches(), config in configs(&LOSSES[..14]), cut in 1i64..4) {
        let b = Batch::of(&drawn);
        let (loss, gradients) = b.run(&config);
        let normalizer = Normalizer::Global { pairs: B as f64, chosen_tokens: b.tokens[0].sum(Kind::Double).double_value(&[]) };
        let config = DpoConfig { normalizer, ..config };
        let parts = [(0, cut), (cut, B as i64 - cut)].map(|(start, size)| b.map(|tensor| tensor.narrow(0, start, size)).run(&config));
        prop_assert!(!far(parts.iter().map(|part| part.0).sum(), loss), "{config:?}");
        for (i, gradient) in gradients.iter().enumerate() {
            prop_assert!(distance(&Tensor::cat(&[&parts[0].1[i], &parts[1].1[i]], 0), gradient) < 1e-10, "{config:?}");
        }
    }

    #[test]
    fn the_order_of_pairs_does_not_matter(drawn in batches(), config in configs(&LOSSES)) {
        // (A weight of AOT belongs to a place in the sorted batch.)
        let mut b = Batch::of(&drawn);
        b.weights = b.weights.ones_like();
        let turn = |tensor: &Tensor| tensor.roll([1], [0]);
        let ((loss, gradients), (again, turned)) = (b.run(&config), b.map(turn).run(&config));
        prop_assert!(!far(loss, again), "{config:?}");
        prop_assert!(gradients.iter().zip(&turned).all(|(plain, turned)| distance(&turn(plain), turned) < 1e-10), "{config:?}");
    }

    #[test]
    fn gradients_agree_with_finite_differences(drawn in batches(), config in configs(&LOSSES)) {
        let b = Batch::of(&drawn);
        let (middle, gradients) = b.run(&config);
        for side in [0, 1] {
            for i in 0..B as i64 {
                let moved = |by: f64| {
                    let b = b.map(Tensor::copy);
                    let _ = b.logprobs[side].get(i).g_add_scalar_(by);
                    b.run(&config).0
                };
                let (right, left) = ((moved(1e-6) - middle) / 1e-6, (middle - moved(-1e-6)) / 1e-6);
                let got = gradients[side].double_value(&[i]);
                // At a kink (hinge, two pairs that change places) either side's derivative will do.
                let error = |expected: f64| (got - expected).abs() / (1.0 + expected.abs());
                prop_assert!(error(right).min(error(left)) < 1e-3, "{config:?}: {got} {left} {right}");
            }
        }
    }

    #[test]
    fn a_policy_that_is_its_reference_has_no_reward(drawn in batches(), config in configs(&LOSSES)) {
        let b = Batch::of(&drawn);
        let [chosen, rejected, ..] = &b.logprobs;
        let extras = Extras { chosen_tokens: Some(&b.tokens[0]), rejected_tokens: Some(&b.tokens[1]), ..Default::default() };
        let (_, stats) = dpo_loss_with([chosen, rejected, chosen, rejected], extras, &config).unwrap();
        prop_assert_eq!((stats.chosen_reward, stats.rejected_reward, stats.margin, stats.accuracy), (0.0, 0.0, 0.0, 0.0));
    }

    #[test]
    fn padding_changes_nothing(
        values in prop::collection::vec(-3.0f64..0.0, 24), lengths in prop::collection::vec(0i64..5, 6), alpha in 0.0..=1.0,
        filler in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), -9.0..9.0],
    ) {
        let grid = |values: &[f64]| Tensor::from_slice(values).view([3, 4]);
        let mask = |lengths: &[i64]| {
            Tensor::arange(4, (Kind::Int64, tch::Device::Cpu)).unsqueeze(0).lt_tensor(&Tensor::from_slice(lengths).unsqueeze(1)).to_kind(Kind::Int64)
        };
        let (chosen, rejected) = (grid(&values[..12]), grid(&values[12..]));
        let (long, short) = (mask(&lengths[..3]), mask(&lengths[3..]));
        let spoil = |tensor: &Tensor, mask: &Tensor| tensor.masked_fill(&mask.eq(0), filler);
        let (spoilt_chosen, spoilt_rejected) = (spoil(&chosen, &long), spoil(&rejected, &short));
        prop_assert_eq!(
            length_desensitized(&chosen, &long, &rejected, &short, alpha).unwrap(),
            length_desensitized(&spoilt_chosen, &long, &spoilt_rejected, &short, alpha).unwrap()
        );
        prop_assert_eq!(
            wpo_weights([&chosen, &rejected, &long], [&rejected, &chosen, &short]).unwrap(),
            wpo_weights([&spoilt_chosen, &spoil(&rejected, &long), &long], [&spoilt_rejected, &spoil(&chosen, &short), &short]).unwrap()
        );
    }

    #[test]
    fn kto_and_reference_free_losses_have_the_derivative_of_their_value(
        drawn in batches(), loss in pick(&[KtoLoss::Kto, KtoLoss::ApoZero]), kl in 0.0..2.0, weights in (0.1..2.0, 0.1..2.0), nll_weight in 0.0..2.0,
        free in prop_oneof![
            (0.0..2.0).prop_map(|gamma| ReferenceFreeLoss::SimPo { gamma }),
            pick(&[ReferenceFreeLoss::Orpo, ReferenceFreeLoss::Cpo, ReferenceFreeLoss::Hinge, ReferenceFreeLoss::Ipo])
        ],
    ) {
        let b = Batch::of(&drawn);
        let liked = Tensor::from_slice(&[1i64, 0, 1, 0]);
        let kto = KtoConfig { loss, desirable_weight: weights.0, undesirable_weight: weights.1, ..Default::default() };
        let config = ReferenceFreeConfig { loss: free, nll_weight, ..ReferenceFreeConfig::CPO };
        // A completion of probability 1 has no odds.
        let below = |tensor: &Tensor| tensor.clamp_max(-0.1);
        let losses = |policy: &Tensor| [
            kto_loss(policy, &b.logprobs[2], &liked, kl, &kto).unwrap().0,
            reference_free_loss(&below(policy), &below(&b.logprobs[1]), &b.tokens[0], &b.tokens[1], &config).unwrap().0,
        ];
        for which in [0, 1] {
            let leaf = b.logprobs[0].copy().set_requires_grad(true);
            let middle = &losses(&leaf)[which];
            middle.backward();
            for i in 0..B as i64 {
                let moved = |by: f64| {
                    let policy = b.logprobs[0].copy();
                    let _ = policy.get(i).g_add_scalar_(by);
                    losses(&policy)[which].double_value(&[])
                };
                let (right, left) = ((moved(1e-6) - middle.double_value(&[])) / 1e-6, (middle.double_value(&[]) - moved(-1e-6)) / 1e-6);
                let got = leaf.grad().double_value(&[i]);
                let error = |expected: f64| (got - expected).abs() / (1.0 + expected.abs());
                prop_assert!(error(right).min(error(left)) < 1e-4, "{config:?} {kto:?}: {got} {left} {right}");
            }
        }
    }

    #[test]
    fn kto_and_reference_free_parts_add_up(drawn in batches(), cut in 1i64..4) {
        let b = Batch::of(&drawn);
        let liked = Tensor::from_slice(&[1i64, 0, 1, 0]);
        let tokens = b.tokens[0].sum(Kind::Double).double_value(&[]);
        let run = |start: i64, size: i64, completions: Option<f64>, whole: Option<(f64, f64)>| {
            let part = b.map(|tensor| tensor.narrow(0, start, size));
            let [chosen, rejected, reference, _] = &part.logprobs;
            let kto = KtoConfig { completions, ..Default::default() };
            let config = ReferenceFreeConfig { whole, ..ReferenceFreeConfig::CPO };
            [
                kto_loss(chosen, reference, &liked.narrow(0, start, size), 0.2, &kto).unwrap().1.loss,
                reference_free_loss(chosen, rejected, &part.tokens[0], &part.tokens[1], &config).unwrap().1.loss,
            ]
        };
        let whole = run(0, B as i64, None, None);
        let parts = [(0, cut), (cut, B as i64 - cut)].map(|(start, size)| run(start, size, Some(B as f64), Some((B as f64, tokens))));
        for which in [0, 1] {
            prop_assert!(!far(parts[0][which] + parts[1][which], whole[which]));
        }
    }

    #[test]
    fn a_group_makes_its_pairs_whatever_the_sizes_of_the_others(
        groups in prop::collection::vec(prop::collection::vec(prop_oneof![4 => -1.0f32..1.0, 1 => Just(f32::NAN), 1 => Just(0.5)], 1..6), 0..5),
        margin in 0.0f32..1.0, rule in pick(&[PairRule::BestWorst, PairRule::All]),
    ) {
        let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
        let together = preference_pairs_by_group(&groups.concat(), &sizes, margin, rule).unwrap();
        let mut alone = Vec::new();
        for (i, group) in groups.iter().enumerate() {
            let start: usize = sizes[..i].iter().sum();
            let pairs = preference_pairs(group, group.len(), margin, rule).unwrap();
            alone.extend(pairs.into_iter().map(|pair| Pair { chosen: start + pair.chosen, rejected: start + pair.rejected, ..pair }));
        }
        prop_assert_eq!(together, alone);
    }

    #[test]
    fn every_pair_is_of_one_group_and_worth_its_margin(
        scores in prop::collection::vec(prop_oneof![4 => -1.0f32..1.0, 1 => Just(f32::NAN), 1 => Just(0.5)], 12),
        group_size in pick(&[1usize, 2, 3, 4, 6, 12]), margin in 0.0f32..1.0, rule in pick(&[PairRule::BestWorst, PairRule::All]),
    ) {
        let pairs = preference_pairs(&scores, group_size, margin, rule).unwrap();
        for pair in &pairs {
            prop_assert_eq!(pair.chosen / group_size, pair.rejected / group_size);
            prop_assert_eq!(pair.margin, scores[pair.chosen] - scores[pair.rejected]);
            prop_assert!(pair.margin > 0.0 && pair.margin >= margin);
        }
        let all = preference_pairs(&scores, group_size, margin, PairRule::All).unwrap();
        if rule == PairRule::BestWorst {
            // One for each group that has any pair, and none wider.
            for (group, _) in scores.chunks(group_size).enumerate() {
                let widest = all.iter().filter(|pair| pair.chosen / group_size == group).map(|pair| pair.margin).reduce(f32::max);
                let best: Vec<f32> = pairs.iter().filter(|pair| pair.chosen / group_size == group).map(|pair| pair.margin).collect();
                prop_assert_eq!(best, widest.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
