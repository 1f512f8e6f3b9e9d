//! Attention that tells its log-sum-exp, against the definition, and merged from parts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tch::{Device, Kind, Tensor};
use vr1_torch::{Error, Sees, attend, merge_attention, put_gradient, take_gradient};

const CPU: (Kind, Device) = (Kind::Double, Device::Cpu);

fn random(size: &[i64]) -> Tensor {
    Tensor::randn(size, CPU)
}

/// Output and log-sum-exp by products and a softmax, with keys and values repeated for their heads.
fn by_definition(query: &Tensor, key: &Tensor, value: &Tensor, sees: Sees) -> (Tensor, Tensor) {
    let [_, queries, heads, d] = <[i64; 4]>::try_from(query.size()).unwrap();
    let by_head = |x: &Tensor| x.repeat_interleave_self_int(heads / x.size()[2], 2, None).transpose(1, 2);
    let mut scores = by_head(query).matmul(&by_head(key).transpose(2, 3)) / (d as f64).sqrt();
    if sees == Sees::Causal {
        let hidden = Tensor::ones([queries, queries], (Kind::Bool, query.device())).triu(1);
        scores = scores.masked_fill(&hidden, f64::NEG_INFINITY);
    }
    let out = scores.softmax(-1, scores.kind()).matmul(&by_head(value)).transpose(1, 2);
    (out, scores.logsumexp(&[-1i64][..], false))
}

fn off(found: &Tensor, expected: &Tensor) -> f64 {
    (found - expected).abs().max().double_value(&[])
}

fn rms(x: &Tensor) -> f64 {
    x.square().mean(Kind::Double).sqrt().double_value(&[])
}

#[test]
fn output_and_log_sum_exp_are_those_of_the_definition() {
    for (heads, shared) in [(4, 4), (4, 2), (4, 1)] {
        for (queries, sees) in [(1, Sees::All), (3, Sees::All), (600, Sees::Causal)] {
            let query = random(&[2, queries, heads, 16]);
            let [key, value] = [0, 1].map(|_| random(&[2, 600, shared, 16]));
            let (out, lse) = attend(&query, &key, &value, sees).unwrap();
            let expected = by_definition(&query, &key, &value, sees);
            assert_eq!((out.size(), lse.size()), (query.size(), vec![2, heads, queries]));
            assert!(off(&out, &expected.0) < 1e-12 && off(&lse, &expected.1) < 1e-12);
        }
    }
}

#[test]
fn two_halves_of_the_keys_merged_are_all_of_them() {
    let query = random(&[3, 2, 4, 16]);
    let [key, value] = [0, 1].map(|_| random(&[3, 70, 2, 16]));
    let whole = attend(&query, &key, &value, Sees::All).unwrap();
    let part = |start, length| {
        let [k, v] = [&key, &value].map(|x| x.narrow(1, start, length));
        attend(&query, &k, &v, Sees::All).unwrap()
    };
    for cut in [1, 31, 69] {
        let (a, b) = (part(0, cut), part(cut, 70 - cut));
        let merged = merge_attention((&a.0, &a.1), (&b.0, &b.1)).unwrap();
        assert!(off(&merged.0, &whole.0) < 1e-12 && off(&merged.1, &whole.1) < 1e-12);
    }
}

#[test]
fn merged_halves_in_bf16_are_about_as_exact_as_the_fused_kernel() {
    let (mut ours, mut merged, mut fused) = (0.0, 0.0, 0.0);
    for _ in 0..8 {
        let [q, k, v] = [[4, 1, 8, 32], [4, 200, 2, 32], [4, 200, 2, 32]].map(|s| random(&s).to_kind(Kind::BFloat16));
        let [q64, k64, v64] = [&q, &k, &v].map(|x| x.to_kind(Kind::Double));
        let truth = by_definition(&q64, &k64, &v64, Sees::All).0;
        let error = |x: &Tensor| {
            assert_eq!(x.kind(), Kind::BFloat16);
            rms(&(x.to_kind(Kind::Double) - &truth)).powi(2)
        };
        let [a, b] =
            [0, 100].map(|start| attend(&q, &k.narrow(1, start, 100), &v.narrow(1, start, 100), Sees::All).unwrap());
        assert_eq!(a.1.kind(), Kind::Float);
        merged += error(&merge_attention((&a.0, &a.1), (&b.0, &b.1)).unwrap().0);
        ours += error(&attend(&q, &k, &v, Sees::All).unwrap().0);
        let [q, k, v] = [&q, &k, &v].map(|x| x.transpose(1, 2));
        let whole = Tensor::scaled_dot_product_attention::<Tensor>(&q, &k, &v, None, 0.0, false, None, true);
        fused += error(&whole.transpose(1, 2));
    }
    let ratios = [ours, merged].map(|x: f64| (x / fused).sqrt());
    assert!(ratios[0] <= 1.1 && ratios[1] <= 1.5, "{ratios:?} times the error of the fused kernel");
}

#[test]
fn a_part_of_a_cache_gives_what_its_copy_gives() {
    let query = random(&[3, 1, 4, 16]);
    let tokens_first = [0, 1].map(|_| random(&[3, 90, 2, 16]).narrow(1, 10, 50));
    let heads_first = [0, 1].map(|_| random(&[3, 2, 90, 16]).transpose(1, 2).narrow(1, 0, 50));
    let numbers_apart = [0, 1].map(|_| random(&[3, 50, 2, 16, 2]).select(4, 1));
    for [key, value] in [tokens_first, heads_first, numbers_apart] {
        let (out, lse) = attend(&query, &key, &value, Sees::All).unwrap();
        let copied = attend(&query, &key.contiguous(), &value.contiguous(), Sees::All).unwrap();
        assert!(off(&out, &copied.0) < 1e-14 && off(&lse, &copied.1) < 1e-14);
    }
}

#[test]
fn a_query_that_sees_no_key_gets_nothing_and_weighs_nothing() {
    let query = random(&[2, 1, 4, 8]).to_kind(Kind::Float);
    let [key, value] = [0, 1].map(|_| random(&[2, 5, 2, 8]).to_kind(Kind::Float));
    let seen = attend(&query, &key, &value, Sees::All).unwrap();
    let no_keys = attend(&query, &key.narrow(1, 0, 0), &value.narrow(1, 0, 0), Sees::All).unwrap();
    let (out, lse) = &no_keys;
    assert!(out.equal(&out.zeros_like()) && lse.equal(&lse.full_like(f64::NEG_INFINITY)));
    for (a, b) in [(&seen, &no_keys), (&no_keys, &seen)] {
        let merged = merge_attention((&a.0, &a.1), (&b.0, &b.1)).unwrap();
        assert!(merged.0.equal(&seen.0) && merged.1.equal(&seen.1));
    }
    let nothing = merge_attention((&no_keys.0, &no_keys.1), (&no_keys.0, &no_keys.1)).unwrap();
    assert!(nothing.0.equal(&no_keys.0) && nothing.1.equal(&no_keys.1));
}

#[test]
fn no_gradient_flows() {
    let [query, key, value] = [0, 1, 2].map(|_| random(&[1, 2, 2, 8]).set_requires_grad(true));
    let (out, lse) = attend(&query, &key, &value, Sees::All).unwrap();
    let merged = merge_attention((&out, &lse), (&out, &lse)).unwrap();
    assert!(![&out, &lse, &merged.0, &merged.1].iter().any(|x| x.requires_grad()));
}

#[test]
fn what_does_not_fit_is_an_error_that_names_shapes() {
    let of = |size: [i64; 4]| random(&size);
    let says = |q, k, sees, expected: &str| {
        let error = attend(&of(q), &of(k), &of(k), sees).unwrap_err();
        assert!(matches!(error, Error::Attention { function: "attend", .. }));
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains(&format!("{q:?}")), "{text}");
    };
    says([2, 1, 4, 8], [3, 5, 2, 8], Sees::All, "batch");
    says([2, 1, 4, 8], [2, 5, 3, 8], Sees::All, "4 heads cannot share 3");
    says([2, 1, 4, 8], [2, 5, 2, 4], Sees::All, "head size");
    says([2, 1, 4, 8], [2, 5, 2, 8], Sees::Causal, "1 queries do not see 5 keys causally");
    let error = merge_attention((&of([2, 1, 4, 8]), &random(&[2, 4, 1])), (&of([2, 1, 4, 8]), &random(&[2, 4, 2])));
    let text = error.unwrap_err().to_string();
    assert!(text.contains("[2, 4, 2]") && text.contains("[2, 1, 4, 8]"), "{text}");
}

#[test]
fn a_gradient_is_taken_and_put_without_a_copy() {
    let x = random(&[3]).set_requires_grad(true);
    assert!(take_gradient(&x).is_none());
    x.square().sum(Kind::Double).backward();
    let before = x.grad().data_ptr();
    let gradient = take_gradient(&x).unwrap();
    assert!(!x.grad().defined() && gradient.data_ptr() == before);
    assert_eq!(off(&gradient, &(x.detach() * 2)), 0.0);
    put_gradient(&x, Some(&gradient)).unwrap();
    assert_eq!(x.grad().data_ptr(), before);
    // A backward pass adds to what was put.
    x.sum(Kind::Double).backward();
    assert_eq!(off(&x.grad(), &(x.detach() * 2 + 1)), 0.0);
    put_gradient(&x, None).unwrap();
    assert!(!x.grad().defined());
    let text = put_gradient(&x, Some(&random(&[4]))).unwrap_err().to_string();
    assert!(text.contains("[4]") && text.contains("[3]"), "{text}");
}

/// On a GPU: the fused kernel and products, with keys whose batch and heads are one dimension and with keys where they are
/// not. Where there is no GPU, this says so and passes.
#[test]
fn a_gpu_gives_what_the_definition_gives() {
    let device = match vr1_torch::device("cuda") {
        Ok(device) => device,
        Err(error) => return println!("skipped: {error}"),
    };
    for kind in [Kind::Double, Kind::Float, Kind::BFloat16, Kind::Half] {
        for (queries, dim, sees) in
            [(1, 64, Sees::All), (3, 128, Sees::All), (1, 20, Sees::All), (70, 64, Sees::Causal)]
        {
            let query = random(&[3, queries, 8, dim]).to_kind(kind);
            let heads_first = [0, 1].map(|_| random(&[3, 2, 90, dim]).transpose(1, 2).narrow(1, 0, 70).to_kind(kind));
            let tokens_first = [0, 1].map(|_| random(&[3, 90, 2, dim]).narrow(1, 0, 70).to_kind(kind));
            for [key, value] in [&heads_first, &tokens_first] {
                let [q, k, v] = [&query, key, value].map(|x| x.to_kind(Kind::Double));
                let expected = by_definition(&q, &k, &v, sees);
                let [q, k, v] = [&query, key, value].map(|x| x.to_device(device));
                // By what the definition in that kind is off on this device, and a few roundings: it may have been lucky.
                let there = by_definition(&q, &k, &v, sees);
                let back = |x: &Tensor| x.to_device(Device::Cpu).to_kind(Kind::Double);
                let rounding = if kind == Kind::Double { f64::EPSILON } else { f64::from(f32::EPSILON) };
                let bound = |of: &Tensor, right: &Tensor| {
                    4.0 * off(&back(of), right) + 8.0 * rounding * right.abs().max().double_value(&[])
                };
                let bounds = [bound(&there.0, &expected.0), bound(&there.1, &expected.1)];
                let mut found = vec![attend(&q, &k, &v, sees).unwrap()];
                if sees == Sees::All {
                    let [a, b] = [(0, 31), (31, 39)].map(|(start, length)| {
                        let [k, v] = [&k, &v].map(|x| x.narrow(1, start, length));
                        attend(&q, &k, &v, sees).unwrap()
                    });
                    found.push(merge_attention((&a.0, &a.1), (&b.0, &b.1)).unwrap());
                }
                for (out, lse) in found {
                    assert_eq!((out.size(), lse.size()), (query.size(), vec![3, 8, queries]));
                    let off = [off(&back(&out), &expected.0), off(&back(&lse), &expected.1)];
                    assert!(off[0] <= bounds[0] && off[1] <= bounds[1], "{kind:?}: {off:?} against {bounds:?}");
                }
            }
        }
    }
}
