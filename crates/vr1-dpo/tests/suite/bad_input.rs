//! Whatever is handed in, the answer is an error or a finite loss with a finite gradient: never a panic, never NaN.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tch::{Kind, Tensor};
use vr1_dpo::{
    Divergence, DpoConfig, DpoLoss, Error, Extras, KtoConfig, KtoLoss, Normalizer, PairRule, ReferenceFreeConfig,
    ReferenceFreeLoss, dpo_loss_with, kto_kl, kto_loss, length_desensitized, preference_pairs,
    preference_pairs_by_group, reference_free_loss, wpo_weights,
};

/// Mostly a number as it should be, sometimes anything.
fn number(usual: std::ops::Range<f64>) -> impl Strategy<Value = f64> {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1e5, -1e5, 3.4e38, -3.4e38, 1e-45, 1e300];
    prop_oneof![60 => usual, 1 => prop::sample::select(odd.to_vec())]
}

fn pick<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

/// Values of a tensor, cut to its size; its shape, if it is not the one that goes with the others; its kind.
type Drawn = (Vec<f64>, Option<Vec<i64>>, Kind);

fn drawn(usual: std::ops::Range<f64>) -> impl Strategy<Value = Drawn> {
    let shape = prop::option::weighted(0.04, prop::collection::vec(0i64..4, 0..4));
    let odd = pick(&[Kind::Half, Kind::BFloat16, Kind::Int64, Kind::Bool, Kind::ComplexFloat]);
    let kind = prop_oneof![9 => Just(Kind::Float), 3 => Just(Kind::Double), 1 => odd];
    (prop::collection::vec(number(usual), 64), shape, kind)
}

fn tensor((values, shape, kind): &Drawn, usual: &[i64]) -> Tensor {
    let shape = shape.as_deref().unwrap_or(usual);
    let count = shape.iter().product::<i64>() as usize;
    Tensor::from_slice(&values[..count]).view(shape).to_kind(*kind)
}

fn leaf(drawn: &Drawn, usual: &[i64]) -> Tensor {
    let tensor = tensor(drawn, usual);
    let differentiable = matches!(tensor.kind(), Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double);
    tensor.detach().set_requires_grad(differentiable)
}

fn check(loss: &Tensor, leaves: &[&Tensor]) -> std::result::Result<(), TestCaseError> {
    prop_assert!(loss.double_value(&[]).is_finite());
    if loss.requires_grad() {
        loss.backward();
        // (An f16 ends at 65504, and so does its gradient.)
        for leaf in leaves.iter().filter(|leaf| leaf.kind() != Kind::Half) {
            let gradient = leaf.grad();
            prop_assert!(!gradient.defined() || gradient.isfinite().all().int64_value(&[]) == 1, "{gradient:?}");
        }
    }
    Ok(())
}

fn losses() -> impl Strategy<Value = DpoLoss> {
    use DpoLoss::*;
    let plain = [
        Sigmoid,
        SigmoidNorm,
        Hinge,
        Ipo,
        Exo,
        Nca,
        Robust,
        Sppo,
        Aot,
        AotUnpaired,
        ApoZero,
        ApoDown,
        ChosenNll,
        ChosenNllPerPair,
    ];
    prop_oneof![
        14 => pick(&plain),
        1 => number(-1.0..1.0).prop_map(|shift| Bco { shift }),
        1 => number(0.01..1.0).prop_map(|temperature| DiscoPop { temperature }),
    ]
}

fn configs() -> impl Strategy<Value = DpoConfig> {
    let divergence = prop_oneof![
        3 => Just(Divergence::ReverseKl),
        1 => Just(Divergence::ForwardKl),
        1 => Just(Divergence::JensenShannon),
        1 => number(0.1..2.0).prop_map(Divergence::Alpha),
    ];
    let normalizer = prop_oneof![
        Just(Normalizer::Local),
        (number(1.0..9.0), number(1.0..9.0))
            .prop_map(|(pairs, chosen_tokens)| Normalizer::Global { pairs, chosen_tokens })
    ];
    let smoothing = prop_oneof![Just(0.0), number(0.0..0.5)];
    (losses(), number(0.05..1.0), smoothing, divergence, normalizer).prop_map(
        |(loss, beta, label_smoothing, divergence, normalizer)| DpoConfig {
            loss,
            beta,
            label_smoothing,
            divergence,
            normalizer,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn a_loss_is_finite_and_so_is_its_gradient(
        size in prop_oneof![9 => Just(3i64), 1 => 0i64..4], logprobs in prop::collection::vec(drawn(-30.0..0.0), 4),
        extras in prop::collection::vec(prop::option::weighted(0.8, drawn(1.0..9.0)), 3), config in configs(),
    ) {
        let leaves = [0, 1].map(|i: usize| leaf(&logprobs[i], &[size]));
        let references = [2, 3].map(|i: usize| tensor(&logprobs[i], &[size]));
        let extra: Vec<Option<Tensor>> = extras.iter().map(|e| e.as_ref().map(|e| tensor(e, &[size]))).collect();
        let extras = Extras { chosen_tokens: extra[0].as_ref(), rejected_tokens: extra[1].as_ref(), weights: extra[2].as_ref() };
        if let Ok((loss, _)) = dpo_loss_with([&leaves[0], &leaves[1], &references[0], &references[1]], extras, &config) {
            check(&loss, &[&leaves[0], &leaves[1]])?;
        }
    }

    #[test]
    fn kto_is_finite_and_so_is_its_gradient(
        size in 0i64..4, logprobs in prop::collection::vec(drawn(-30.0..0.0), 2), desirable in drawn(0.0..2.0),
        kl in number(0.0..2.0), numbers in (number(0.05..1.0), number(0.1..2.0), number(0.1..2.0)), completions in prop::option::of(number(1.0..9.0)),
        loss in pick(&[KtoLoss::Kto, KtoLoss::ApoZero]),
    ) {
        let (policy, reference) = (leaf(&logprobs[0], &[size]), tensor(&logprobs[1], &[size]));
        let config = KtoConfig { loss, beta: numbers.0, desirable_weight: numbers.1, undesirable_weight: numbers.2, completions };
        if let Ok((loss, _)) = kto_loss(&policy, &reference, &tensor(&desirable, &[size]), kl, &config) {
            check(&loss, &[&policy])?;
        }
        if let Ok(kl) = kto_kl(&policy, &reference) {
            prop_assert!(kl.is_finite() && kl >= 0.0);
        }
    }

    #[test]
    fn a_reference_free_loss_is_finite_and_so_is_its_gradient(
        size in 0i64..4, logprobs in prop::collection::vec(drawn(-30.0..0.0), 2), tokens in prop::collection::vec(drawn(1.0..9.0), 2),
        loss in prop_oneof![
            number(0.0..2.0).prop_map(|gamma| ReferenceFreeLoss::SimPo { gamma }),
            pick(&[ReferenceFreeLoss::Orpo, ReferenceFreeLoss::Cpo, ReferenceFreeLoss::Hinge, ReferenceFreeLoss::Ipo])
        ],
        numbers in (number(0.05..3.0), number(0.0..1.0)), label_smoothing in prop_oneof![Just(0.0), number(0.0..0.5)],
        whole in prop::option::of((number(1.0..9.0), number(1.0..9.0))),
    ) {
        let leaves = [0, 1].map(|i: usize| leaf(&logprobs[i], &[size]));
        let tokens = [0, 1].map(|i: usize| tensor(&tokens[i], &[size]));
        let config = ReferenceFreeConfig { loss, beta: numbers.0, label_smoothing, nll_weight: numbers.1, whole };
        if let Ok((loss, _)) = reference_free_loss(&leaves[0], &leaves[1], &tokens[0], &tokens[1], &config) {
            check(&loss, &[&leaves[0], &leaves[1]])?;
        }
    }

    #[test]
    fn lengths_weights_and_pairs_do_not_panic(
        grids in prop::collection::vec(drawn(-3.0..0.0), 6), alpha in number(0.0..1.0),
        scores in prop::collection::vec(number(-1.0..1.0), 0..9), group_size in 0usize..5, margin in number(0.0..1.0),
    ) {
        let g: Vec<Tensor> = grids.iter().map(|grid| tensor(grid, &[3, 4])).collect();
        let _ = length_desensitized(&g[0], &g[1], &g[2], &g[3], alpha);
        let _ = wpo_weights([&g[0], &g[1], &g[2]], [&g[3], &g[4], &g[5]]);
        let scores: Vec<f32> = scores.iter().map(|&score| score as f32).collect();
        for rule in [PairRule::BestWorst, PairRule::All] {
            if let Ok(pairs) = preference_pairs(&scores, group_size, margin as f32, rule) {
                prop_assert!(pairs.iter().all(|pair| pair.margin.is_finite() && pair.margin > 0.0));
            }
        }
    }
}

#[test]
fn an_infinite_score_is_an_overflow_even_where_the_loss_is_finite() {
    // The forward KL's score of the rejected completion is −∞ in f32, Δ = ∞, −log σ(∞) = 0, but the gradient would be 0·∞.
    let t = |x: f32| Tensor::from_slice(&[x]);
    let config = DpoConfig { divergence: Divergence::ForwardKl, ..Default::default() };
    let outcome = dpo_loss_with([&t(-1.0), &t(-200.0), &t(-1.0), &t(-1.0)], Extras::default(), &config);
    assert!(matches!(outcome, Err(Error::Overflow { .. })));
}

#[test]
fn one_number_of_tokens_calls_for_the_other() {
    let t = Tensor::from_slice(&[-1f32]);
    let config = DpoConfig { loss: DpoLoss::Ipo, ..Default::default() };
    let tokens = Tensor::from_slice(&[3i64]);
    let extras = Extras { chosen_tokens: Some(&tokens), ..Default::default() };
    let outcome = dpo_loss_with([&t, &t, &t, &t], extras, &config);
    assert!(matches!(outcome, Err(Error::Missing { name: "rejected_tokens", .. })));
}

#[test]
fn sizes_that_do_not_fit_the_scores_are_named() {
    let run = |sizes: &[usize]| {
        preference_pairs_by_group(&[0.0, 1.0, 2.0], sizes, 0.0, PairRule::All).unwrap_err().to_string()
    };
    assert_eq!(run(&[2, 0, 1]), "group 1 has size 0: leave it out");
    assert_eq!(run(&[2]), "the sizes of 1 group(s) add up to 2, but there are 3 score(s)");
    assert!(run(&[usize::MAX, usize::MAX]).starts_with("the sizes of 2 group(s) add up to"));
    assert_eq!(preference_pairs_by_group(&[], &[], 0.0, PairRule::All).unwrap(), []);
}

#[test]
fn an_infinite_score_makes_no_pair() {
    let outcome = preference_pairs(&[f32::INFINITY, 0.0], 2, 0.0, PairRule::BestWorst);
    assert!(matches!(outcome, Err(Error::Setting { field: "scores", .. })));
}

#[test]
fn bad_input_is_named() {
    let t = |x: [f64; 3]| Tensor::from_slice(&x);
    let [a, b, c, d] = [[-1.0, -2.0, -3.0], [-2.0, -3.0, -1.0], [-1.5, -2.0, -2.5], [-2.0, -2.0, -2.0]].map(t);
    let run = |a: &Tensor, b: &Tensor, c: &Tensor, config: &DpoConfig| {
        dpo_loss_with([a, b, c, &d], Extras::default(), config).map(|_| ()).unwrap_err()
    };
    let default = DpoConfig::default();
    assert_eq!(
        run(&a, &b.narrow(0, 0, 2), &c, &default).to_string(),
        "`rejected_logprobs` must have shape [3] to go with `chosen_logprobs`, but its shape is [2]"
    );
    assert_eq!(
        run(&a.view([3, 1]), &b, &c, &default).to_string(),
        "`chosen_logprobs` must have 1 dimension(s), but its shape is [3, 1]"
    );
    let nan = run(&a, &b, &c.full_like(f64::NAN), &default);
    assert!(matches!(nan, Error::NonFinite { name: "ref_chosen_logprobs", count: 3 }));
    let normalised = DpoConfig { loss: DpoLoss::SigmoidNorm, ..default };
    assert!(matches!(run(&a, &b, &c, &normalised), Error::Missing { name: "chosen_tokens", .. }));
    let unused = DpoConfig { loss: DpoLoss::Nca, divergence: Divergence::ForwardKl, ..default };
    assert!(matches!(run(&a, &b, &c, &unused), Error::Unused { field: "divergence", .. }));
    let forward = DpoConfig { divergence: Divergence::ForwardKl, ..default };
    assert!(matches!(run(&(&a - 1e5), &b, &c, &forward), Error::Overflow { .. }));
    let none = Tensor::zeros([0], (Kind::Float, tch::Device::Cpu));
    let empty = dpo_loss_with([&none, &none, &none, &none], Extras::default(), &default);
    assert!(matches!(empty, Err(Error::EmptyBatch)));
}

#[test]
fn settings_out_of_range_name_themselves() {
    let default = DpoConfig::default();
    let normalizer = Normalizer::Global { pairs: 4.0, chosen_tokens: 0.0 };
    for (name, config) in [
        ("beta", DpoConfig { beta: 0.0, ..default }),
        ("label_smoothing", DpoConfig { label_smoothing: 0.5, ..default }),
        ("label_smoothing", DpoConfig { loss: DpoLoss::Exo, ..default }),
        ("loss.temperature", DpoConfig { loss: DpoLoss::DiscoPop { temperature: 0.0 }, ..default }),
        ("loss.shift", DpoConfig { loss: DpoLoss::Bco { shift: f64::NAN }, ..default }),
        ("divergence.alpha", DpoConfig { divergence: Divergence::Alpha(f64::INFINITY), ..default }),
        ("normalizer.chosen_tokens", DpoConfig { normalizer, ..default }),
    ] {
        assert!(matches!(config.validate(), Err(Error::Setting { field, .. }) if field == name), "{name}");
    }
}
