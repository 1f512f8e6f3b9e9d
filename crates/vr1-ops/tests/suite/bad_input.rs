//! Whatever is handed in, the answer is an error or numbers: never a panic.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use tch::{Kind, Tensor};
use vr1_ops::{
    Error, Head, VocabularyMean, check_alike, check_floating, check_integers, check_rank, check_shape, check_token_ids,
    head_logprobs, masked_mean, masked_row_mean, masked_select_or_zero, masked_sum, token_entropy, token_logprobs,
};

fn pick<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

/// Values of a tensor, cut to its size; its shape, if it is not the one that goes with the others; its kind.
type Drawn = (Vec<f64>, Option<Vec<i64>>, Kind);

fn drawn(kind: Kind) -> impl Strategy<Value = Drawn> {
    let number = prop_oneof![9 => 0.0..3.0, 1 => pick(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300])];
    let shape = prop::option::weighted(0.1, prop::collection::vec(0i64..4, 0..4));
    let kinds = [Kind::Half, Kind::BFloat16, Kind::Double, Kind::Int64, Kind::Uint8, Kind::Bool, Kind::ComplexFloat];
    (prop::collection::vec(number, 64), shape, prop_oneof![9 => Just(kind), 1 => pick(&kinds)])
}

fn tensor((values, shape, kind): &Drawn, usual: &[i64]) -> Tensor {
    let shape = shape.as_deref().unwrap_or(usual);
    let count = shape.iter().product::<i64>() as usize;
    Tensor::from_slice(&values[..count]).view(shape).to_kind(*kind)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(
        values in drawn(Kind::Float), mask in drawn(Kind::Int64), matrix in drawn(Kind::Float), ids in drawn(Kind::Int64),
        (n, d, v) in (0i64..4, 0i64..4, 0i64..4), temperature in pick(&[0.7, 0.0, -1.0, f64::NAN, f64::INFINITY]), chunk in -1i64..5,
        unreachable in prop::option::of((drawn(Kind::Int64), 0i64..3)), vocabulary_mean in pick(&[VocabularyMean::Skipped, VocabularyMean::Taken]),
    ) {
        let (values, mask) = (tensor(&values, &[n, d]), tensor(&mask, &[n, d]));
        let (matrix, ids) = (tensor(&matrix, &[v, d]), tensor(&ids, &[n]));
        let _ = (masked_sum(&values, &mask), masked_mean(&values, &mask), masked_row_mean(&values, &mask));
        let _ = (token_logprobs(&values, &ids), token_entropy(&values), check_token_ids("ids", &ids, v));
        let unreachable = unreachable.map(|(ids, count)| tensor(&ids, &[count]));
        let head = Head { matrix: &matrix, temperature, unreachable: unreachable.as_ref(), chunk, vocabulary_mean };
        if let Ok(out) = head_logprobs(&values, &ids, &head) {
            let outputs = [Some(out.logprobs), Some(out.entropy), Some(out.likeliest), out.mean_logprobs];
            prop_assert!(outputs.iter().flatten().all(|output| output.size() == [n]));
        }
    }
}

#[test]
fn a_tensor_that_is_no_tensor_is_an_error() {
    let (undefined, good) = (Tensor::new(), Tensor::from_slice(&[1f32]));
    assert!(matches!(check_rank("logits", &undefined, 1), Err(Error::Undefined { name: "logits" })));
    assert!(
        check_shape("logits", &undefined, "labels", &[1]).is_err() && check_alike("a", &undefined, "b", &good).is_err()
    );
    assert!(check_floating("logits", &undefined).is_err() && check_integers("ids", &undefined).is_err());
    assert!(masked_select_or_zero(&undefined, &good).is_err() && masked_select_or_zero(&good, &undefined).is_err());
    assert!(token_logprobs(&undefined, &good).is_err() && token_entropy(&undefined).is_err());
}
