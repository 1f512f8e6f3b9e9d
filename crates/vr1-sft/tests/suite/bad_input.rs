//! Whatever is handed in, the answer is an error or a finite loss with a finite gradient: never a panic, never NaN.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use tch::{Device, Kind, Tensor};
use vr1_sft::{
    Alignment, Error, Normalizer, Objective, Role, SftConfig, Span, TrainOn, labels_from_spans, neftune, pack,
    sft_loss, sft_loss_of_logprobs, weighted_sft_loss,
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

fn drawn(usual: std::ops::Range<f64>, kind: Kind) -> impl Strategy<Value = Drawn> {
    let shape = prop::option::weighted(0.05, prop::collection::vec(0i64..4, 0..4));
    let kinds = [Kind::Half, Kind::BFloat16, Kind::Double, Kind::Int64, Kind::Uint8, Kind::Bool, Kind::ComplexFloat];
    let kind = prop_oneof![9 => Just(kind), 1 => pick(&kinds)];
    (prop::collection::vec(number(usual), 64), shape, kind)
}

fn tensor((values, shape, kind): &Drawn, usual: &[i64]) -> Tensor {
    let shape = shape.as_deref().unwrap_or(usual);
    let count = shape.iter().product::<i64>() as usize;
    Tensor::from_slice(&values[..count]).view(shape).to_kind(*kind)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_loss_is_finite_and_so_is_its_gradient(
        shape in prop_oneof![9 => Just(vec![2i64, 3, 4]), 1 => prop::collection::vec(0i64..4, 3)],
        logits in drawn(-4.0..4.0, Kind::Float), labels in prop_oneof![4 => drawn(0.0..4.0, Kind::Int64), 1 => drawn(-101.0..4.0, Kind::Int64)],
        weights in prop::option::of(drawn(0.0..2.0, Kind::Float)), objective in pick(&[Objective::CrossEntropy, Objective::Dft]),
        label_smoothing in prop_oneof![Just(0.0), number(0.0..0.9)], alignment in pick(&[Alignment::NextToken, Alignment::Aligned]),
        normalizer in prop_oneof![Just(Normalizer::Local), number(1.0..9.0).prop_map(Normalizer::Global)],
    ) {
        let leaf = tensor(&logits, &shape);
        let differentiable = matches!(leaf.kind(), Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double);
        let leaf = leaf.detach().set_requires_grad(differentiable);
        let weights = weights.as_ref().map(|weights| tensor(weights, &shape[..1]));
        let config = SftConfig { objective, label_smoothing, alignment, normalizer };
        if let Ok((loss, stats)) = weighted_sft_loss(&leaf, &tensor(&labels, &shape[..2]), weights.as_ref(), &config) {
            prop_assert!(loss.double_value(&[]).is_finite() && stats.nll.is_finite() && stats.accuracy.is_finite());
            // (An f16 ends at 65504, and so does its gradient.)
            if loss.requires_grad() && leaf.kind() != Kind::Half {
                loss.backward();
                let gradient = leaf.grad();
                prop_assert!(!gradient.defined() || gradient.isfinite().all().int64_value(&[]) == 1, "{gradient:?}");
            }
        }
    }

    #[test]
    fn a_loss_of_log_probabilities_is_finite_and_so_is_its_gradient(
        shape in prop_oneof![9 => pick(&[vec![2i64, 3], vec![6]]), 1 => prop::collection::vec(0i64..4, 0..4)],
        logprobs in drawn(-4.0..0.0, Kind::Float), mask in drawn(0.0..1.5, Kind::Int64), mean in prop::option::of(drawn(-6.0..-1.0, Kind::Float)),
        likeliest in prop::option::of(drawn(0.0..1.5, Kind::Bool)), weights in prop::option::of(drawn(0.0..2.0, Kind::Float)),
        objective in pick(&[Objective::CrossEntropy, Objective::Dft]), label_smoothing in prop_oneof![Just(0.0), number(0.0..0.9)],
        normalizer in prop_oneof![Just(Normalizer::Local), number(1.0..9.0).prop_map(Normalizer::Global)],
    ) {
        let leaf = tensor(&logprobs, &shape);
        let differentiable = matches!(leaf.kind(), Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double);
        let leaf = leaf.detach().set_requires_grad(differentiable);
        let (mean, likeliest) = (mean.as_ref().map(|mean| tensor(mean, &shape)), likeliest.as_ref().map(|hits| tensor(hits, &shape)));
        let weights = weights.as_ref().map(|weights| tensor(weights, &shape[..shape.len().min(1)]));
        let config = SftConfig { objective, label_smoothing, normalizer, ..SftConfig::default() };
        let (mask, mean) = (tensor(&mask, &shape), mean.as_ref());
        if let Ok((loss, stats)) = sft_loss_of_logprobs(&leaf, &mask, mean, likeliest.as_ref(), weights.as_ref(), &config) {
            prop_assert!(loss.double_value(&[]).is_finite() && stats.nll.is_finite());
            if loss.requires_grad() && leaf.kind() != Kind::Half {
                loss.backward();
                let gradient = leaf.grad();
                prop_assert!(!gradient.defined() || gradient.isfinite().all().int64_value(&[]) == 1, "{gradient:?}");
            }
        }
    }

    #[test]
    fn noise_labels_and_packs_do_not_panic(
        grids in prop::collection::vec(drawn(-1.0..1.0, Kind::Float), 2), mask in drawn(0.0..1.5, Kind::Int64), alpha in number(0.0..9.0),
        spans in prop::collection::vec((0usize..9, 0usize..9, pick(&[Role::User, Role::Assistant, Role::Media])), 0..4),
        lengths in prop::collection::vec(0usize..9, 0..9), capacity in 0usize..12,
    ) {
        let _ = neftune(&tensor(&grids[0], &[2, 3, 2]), &tensor(&grids[1], &[2, 3, 2]), &tensor(&mask, &[2, 3]), alpha);
        let spans: Vec<Span> = spans.into_iter().map(|(start, end, role)| Span { start, end, role }).collect();
        for train_on in [TrainOn::Assistant, TrainOn::Completion, TrainOn::Everything] {
            let _ = labels_from_spans(&[1, 2, 3, 4, 5, 6], &spans, train_on);
        }
        let _ = pack(&lengths, capacity);
    }
}

#[test]
fn bad_input_is_named() {
    let (logits, labels) =
        (Tensor::randn([3, 5, 7], (Kind::Double, Device::Cpu)), Tensor::ones([3, 5], (Kind::Int64, Device::Cpu)));
    let run =
        |logits: &Tensor, labels: &Tensor| sft_loss(logits, labels, &SftConfig::default()).map(|_| ()).unwrap_err();
    assert!(matches!(run(&logits, &labels.full_like(-100)), Error::NoLabels));
    assert_eq!(run(&logits, &labels.full_like(7)).to_string(), "`labels` holds the id 7, outside a vocabulary of 7");
    assert_eq!(
        run(&logits, &labels.narrow(1, 0, 3)).to_string(),
        "`labels` must have shape [3, 5] to go with `logits`, but its shape is [3, 3]"
    );
    assert_eq!(run(&logits.get(0), &labels).to_string(), "`logits` must have 3 dimension(s), but its shape is [5, 7]");
    assert_eq!(
        run(&logits, &labels.to_kind(Kind::Double)).to_string(),
        "`labels` must hold integers, but its kind is Double"
    );
    assert!(matches!(run(&logits.full_like(f64::NAN), &labels), Error::NonFinite { name: "logits" }));
}

#[test]
fn weights_that_leave_nothing_or_are_no_numbers_are_errors() {
    let (logits, labels) =
        (Tensor::zeros([2, 2, 3], (Kind::Float, Device::Cpu)), Tensor::ones([2, 2], (Kind::Int64, Device::Cpu)));
    let run = |weights: [f32; 2]| {
        weighted_sft_loss(&logits, &labels, Some(&Tensor::from_slice(&weights)), &SftConfig::default())
    };
    assert!(matches!(run([0.0, 0.0]), Err(Error::NoLabels)));
    assert!(matches!(run([1.0, -0.5]), Err(Error::Setting { field: "weights", got: -0.5, .. })));
    assert!(matches!(run([f32::NAN, 1.0]), Err(Error::Setting { field: "weights", .. })));
    assert!(run([0.0, 1.0]).is_ok());
}
