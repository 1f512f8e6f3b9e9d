//! Attention over shared prefixes against each sequence computed alone, with its prefix copied.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod case;
mod gpu;

use case::{Case, Lengths, NAMES, assert_about_as_exact, assert_close, by_definition, largest, ragged, shared};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};
use vr1_torch::{Error, Groups, shared_prefix_attention};

const HEADS: [(i64, i64, i64); 5] = [(2, 2, 16), (4, 2, 8), (4, 1, 16), (2, 1, 64), (8, 4, 16)];

#[test]
fn output_and_gradients_are_those_of_each_sequence_alone() {
    for (seed, heads) in HEADS.into_iter().enumerate() {
        let case = Case::new(ragged(), heads, seed as i64);
        let expected = case.run(Kind::Double, by_definition);
        let context = format!("heads {heads:?}");
        assert_close(&case.run(Kind::Double, shared), &expected, 1e-12, &context);
        assert_close(&case.run(Kind::Float, shared), &expected, 1e-5, &context);
    }
}

#[test]
fn many_short_suffixes_and_a_long_prefix() {
    let lengths = vec![(530, (0..64).map(|i| 20 + i * 7 % 23).collect())];
    let case = Case::new(lengths, (4, 2, 16), 3);
    assert_close(&case.run(Kind::Double, shared), &case.run(Kind::Double, by_definition), 1e-12, "64 suffixes");
}

#[test]
fn large_scores_overflow_nothing() {
    let mut case = Case::new(ragged(), (4, 2, 8), 5);
    let _ = case.inputs[0].g_mul_scalar_(60.0);
    let expected = case.run(Kind::Double, by_definition);
    assert_close(&case.run(Kind::Double, shared), &expected, 1e-10, "f64");
    let found = case.run(Kind::Float, shared);
    assert!(found.iter().all(|x| largest(x).is_finite()));
}

#[test]
fn half_kinds_are_about_as_exact_as_whole_sequences() {
    for kind in [Kind::BFloat16, Kind::Half] {
        assert_about_as_exact(&ragged(), (4, 2, 16), kind, Device::Cpu);
    }
}

#[test]
fn only_the_inputs_that_want_a_gradient_get_one() {
    let case = Case::new(ragged(), (4, 2, 8), 1);
    let all = case.run(Kind::Double, shared);
    for wants in [[true, false, false], [false, true, true], [false, true, false], [false, false, true]] {
        let inputs = [0, 1, 2].map(|i| case.inputs[i].copy().set_requires_grad(wants[i]));
        let out = shared(inputs.each_ref(), &case.lengths);
        (out * &case.weights).sum(Kind::Double).backward();
        for i in 0..3 {
            let gradient = inputs[i].grad();
            assert_eq!(gradient.defined(), wants[i]);
            assert!(!wants[i] || gradient.equal(&all[i + 1]), "{} with {wants:?}", NAMES[i + 1]);
        }
    }
}

#[test]
fn without_gradients_the_output_belongs_to_no_graph() {
    let case = Case::new(ragged(), (4, 2, 8), 1);
    let inputs = case.inputs.each_ref().map(|x| x.copy().set_requires_grad(true));
    let out = tch::no_grad(|| shared(inputs.each_ref(), &case.lengths));
    assert!(!out.requires_grad());
    assert!(out.equal(&shared(case.inputs.each_ref(), &case.lengths)));
}

#[test]
fn strided_inputs_give_what_contiguous_ones_give() {
    let case = Case::new(ragged(), (4, 4, 8), 2);
    let expected = case.run(Kind::Double, shared);
    // Parts of a joint projection; then heads before tokens; then numbers of a head apart.
    let joint = Tensor::stack(&case.inputs, 1);
    let parts = [0, 1, 2].map(|i| joint.select(1, i));
    let heads_first = case.inputs.each_ref().map(|x| x.transpose(0, 1).contiguous().transpose(0, 1));
    let apart = case.inputs.each_ref().map(|x| x.transpose(0, 2).contiguous().transpose(0, 2));
    for strided in [parts, heads_first, apart] {
        assert!(!strided[0].is_contiguous());
        let inputs = strided.map(|x| x.detach().set_requires_grad(true));
        let out = shared(inputs.each_ref(), &case.lengths);
        // A gradient that is one number for all tokens: its strides are 0.
        let ones = case.run(Kind::Double, |x, lengths| shared(x, lengths) / &case.weights);
        out.sum(Kind::Double).backward();
        let [q, k, v] = inputs.each_ref().map(Tensor::grad);
        assert_close(
            &[out, q, k, v],
            &[expected[0].copy(), ones[1].copy(), ones[2].copy(), ones[3].copy()],
            1e-12,
            "strided",
        );
    }
}

#[test]
fn the_order_of_suffixes_and_groups_orders_the_result() {
    let case = Case::new(vec![(9, vec![4, 30, 11]), (5, vec![2])], (4, 2, 16), 7);
    let expected = case.run(Kind::Double, shared);
    // Where the parts lie: prefix 0..9, suffixes 9..13, 13..43, 43..54; prefix 54..59, suffix 59..61.
    let order: Vec<i64> = (54..61).chain(0..9).chain(43..54).chain(9..13).chain(13..43).collect();
    let order = Tensor::from_slice(&order);
    let permuted = Case {
        inputs: case.inputs.each_ref().map(|x| x.index_select(0, &order)),
        weights: case.weights.index_select(0, &order),
        lengths: vec![(5, vec![2]), (9, vec![11, 4, 30])],
        device: Device::Cpu,
    };
    let expected = expected.map(|x| x.index_select(0, &order));
    assert_close(&permuted.run(Kind::Double, shared), &expected, 1e-14, "permuted");
}

#[test]
fn a_prefix_without_suffixes_is_a_sequence() {
    let case = Case::new(vec![(33, vec![]), (5, vec![])], (2, 1, 16), 8);
    assert_close(&case.run(Kind::Double, shared), &case.run(Kind::Double, by_definition), 1e-13, "documents");
}

#[test]
fn a_second_derivative_is_an_error() {
    let case = Case::new(vec![(3, vec![2])], (1, 1, 8), 9);
    let query = case.inputs[0].copy().set_requires_grad(true);
    let out = shared([&query, &case.inputs[1], &case.inputs[2]], &case.lengths);
    let error = Tensor::f_run_backward(&[out.sum(Kind::Double)], &[&query], true, true).unwrap_err();
    assert!(error.to_string().contains("no second derivative"), "{error}");
}

#[test]
fn what_does_not_fit_is_an_error_that_names_shapes() {
    let of = |size: [i64; 3], kind| Tensor::zeros(size, (kind, Device::Cpu));
    let groups = Groups::new([(3, vec![2])]).unwrap();
    let fails = |q: [i64; 3], k: [i64; 3], v: [i64; 3], kind| {
        let error =
            shared_prefix_attention(&of(q, Kind::Float), &of(k, kind), &of(v, Kind::Float), &groups).unwrap_err();
        assert!(matches!(error, Error::Attention { .. }));
        let text = error.to_string();
        for size in [q, k, v] {
            assert!(text.contains(&format!("{size:?}")), "{text}");
        }
        text
    };
    let kind = Kind::Float;
    assert!(fails([6, 4, 8], [6, 2, 8], [6, 2, 8], kind).contains("the groups have 5 tokens"));
    assert!(fails([5, 4, 8], [6, 2, 8], [6, 2, 8], kind).contains("the groups have 5 tokens"));
    assert!(fails([5, 4, 8], [5, 3, 8], [5, 3, 8], kind).contains("4 heads cannot share 3"));
    assert!(fails([5, 4, 8], [5, 2, 4], [5, 2, 4], kind).contains("head size"));
    assert!(fails([5, 4, 8], [5, 2, 8], [5, 1, 8], kind).contains("keys and values"));
    assert!(fails([5, 4, 8], [5, 2, 8], [5, 2, 8], Kind::Double).contains("Double"));
    let flat = of([5, 4, 8], kind).flatten(1, 2);
    assert!(shared_prefix_attention(&flat, &flat, &flat, &groups).unwrap_err().to_string().contains("[5, 32]"));
    let error = Groups::new([(3, vec![2]), (4, vec![1, 0])]).unwrap_err().to_string();
    assert!(error.starts_with("groups[1]: suffix 1 has 0 tokens"), "{error}");
    assert!(Groups::new([(0, vec![2])]).unwrap_err().to_string().starts_with("groups[0]: the prefix has 0 tokens"));
    assert!(Groups::new([(i64::MAX, vec![2])]).is_err());
}

#[test]
fn no_groups_are_no_tokens() {
    let empty = Tensor::zeros([0, 2, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let out = shared([&empty, &empty, &empty], &vec![]);
    assert_eq!(out.size(), [0, 2, 8]);
    out.sum(Kind::Float).backward();
}

#[test]
fn groups_are_equal_by_their_lengths() {
    let groups = |lengths: Lengths| Groups::new(lengths).unwrap();
    assert_eq!(groups(ragged()), groups(ragged()));
    assert_ne!(groups(vec![(3, vec![2])]), groups(vec![(3, vec![]), (2, vec![])]));
    assert_eq!(groups(vec![(3, vec![2])]).iter().collect::<Vec<_>>(), [(3, &[2i64][..])]);
    assert_eq!(format!("{:?}", groups(vec![(3, vec![2])])), "Groups([(3, [2])])");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_groups_give_what_their_sequences_give(
        lengths in prop::collection::vec((1i64..70, prop::collection::vec(1i64..50, 0..6)), 1..4),
        (shared_heads, rows) in (1i64..3, 1i64..4),
        d in prop::sample::select(vec![1i64, 5, 8, 16]),
        seed in 0i64..1000,
    ) {
        let case = Case::new(lengths, (shared_heads * rows, shared_heads, d), seed);
        assert_close(&case.run(Kind::Double, shared), &case.run(Kind::Double, by_definition), 1e-12, "any groups");
    }
}
