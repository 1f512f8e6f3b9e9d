//! Token log-probabilities: the chunked form equals the plain one, in values and in gradients.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use tch::{Kind, Tensor};
use vr1_ops::{Error, chunked_logprobs, token_entropy, token_logprobs};

const CPU: (Kind, tch::Device) = (Kind::Float, tch::Device::Cpu);

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

#[test]
fn chunked_equals_plain_in_values_and_gradients() {
    tch::manual_seed(1);
    let (n, d, v, temperature) = (23, 8, 31, 0.7);
    let targets = Tensor::randint(v, [n], (Kind::Int64, tch::Device::Cpu));
    let weights = [Tensor::randn([n], CPU), Tensor::randn([n], CPU)];
    let (hidden, matrix) = (Tensor::randn([n, d], CPU), Tensor::randn([v, d], CPU));
    let leaves = || [hidden.copy().set_requires_grad(true), matrix.copy().set_requires_grad(true)];
    let [h0, w0] = leaves();
    let logits = h0.matmul(&w0.tr()) / temperature;
    let plain = (token_logprobs(&logits, &targets).unwrap(), token_entropy(&logits).unwrap());
    (&plain.0 * &weights[0] + &plain.1 * &weights[1]).sum(Kind::Float).backward();
    for chunk in [1, 5, 23, 1000] {
        let [h, w] = leaves();
        let (logprobs, entropy) = chunked_logprobs(&h, &w, &targets, temperature, chunk).unwrap();
        assert!(distance(&logprobs, &plain.0) < 1e-5 && distance(&entropy, &plain.1) < 1e-5);
        (&logprobs * &weights[0] + &entropy * &weights[1]).sum(Kind::Float).backward();
        assert!(distance(&h.grad(), &h0.grad()) < 1e-5, "chunk {chunk}");
        assert!(distance(&w.grad(), &w0.grad()) < 1e-5, "chunk {chunk}");
    }
}

#[test]
fn each_input_gets_a_gradient_only_if_it_asks() {
    let targets = Tensor::from_slice(&[2i64, 0]);
    let (h, w) = (Tensor::randn([2, 3], CPU), Tensor::randn([4, 3], CPU));
    let (logprobs, _) = chunked_logprobs(&h, &w, &targets, 1.0, 1).unwrap();
    assert!(!logprobs.requires_grad());
    let frozen = chunked_logprobs(&h.copy().set_requires_grad(true), &w, &targets, 1.0, 1).unwrap();
    frozen.0.sum(Kind::Float).backward();
    assert!(!w.grad().defined());
    let head = w.copy().set_requires_grad(true);
    chunked_logprobs(&h, &head, &targets, 1.0, 1).unwrap().1.sum(Kind::Float).backward();
    assert!(head.grad().abs().sum(Kind::Float).double_value(&[]) > 0.0 && !h.grad().defined());
}

#[test]
fn half_precision_sums_in_f32() {
    tch::manual_seed(3);
    let (n, d, v) = (9, 16, 4096);
    let targets = Tensor::randint(v, [n], (Kind::Int64, tch::Device::Cpu));
    let half = |tensor: Tensor| tensor.to_kind(Kind::BFloat16);
    let leaf = |tensor: &Tensor, kind| tensor.to_kind(kind).detach().set_requires_grad(true);
    let (hidden, matrix) = (half(Tensor::randn([n, d], CPU)), half(Tensor::randn([v, d], CPU) * 0.1));
    let run = |kind| {
        let (h, w) = (leaf(&hidden, kind), leaf(&matrix, kind));
        let (logprobs, entropy) = chunked_logprobs(&h, &w, &targets, 1.0, 4).unwrap();
        assert_eq!((logprobs.kind(), entropy.kind()), (Kind::Float, Kind::Float));
        (&logprobs + &entropy).sum(Kind::Float).backward();
        assert_eq!((h.grad().kind(), w.grad().kind()), (kind, kind));
        [logprobs.detach(), entropy.detach(), h.grad().to_kind(Kind::Float), w.grad().to_kind(Kind::Float)]
    };
    let plainly = |kind| {
        let (h, w) = (leaf(&hidden, kind), leaf(&matrix, kind));
        let p = h.matmul(&w.tr()).log_softmax(-1, Kind::Float);
        let logprobs = p.gather(-1, &targets.unsqueeze(-1), false).squeeze_dim(-1);
        let entropy = -(p.exp() * &p).sum_dim_intlist(-1, false, Kind::Float);
        (&logprobs + &entropy).sum(Kind::Float).backward();
        [logprobs.detach(), entropy.detach(), h.grad().to_kind(Kind::Float), w.grad().to_kind(Kind::Float)]
    };
    // What rounding logits and gradients to bf16 costs on this machine, by libtorch's own operators.
    let (half, full, plain) = (run(Kind::BFloat16), run(Kind::Float), plainly(Kind::BFloat16));
    for ((half, full), plain) in half.iter().zip(&full).zip(&plain) {
        let off = |found: &Tensor| (found - full).norm().double_value(&[]);
        assert!(off(half) < 1.5 * off(plain), "off by {}, libtorch by {}", off(half), off(plain));
    }
}

#[test]
fn no_token_gives_no_log_probability() {
    let empty = Tensor::zeros([0], (Kind::Int64, tch::Device::Cpu));
    let h = Tensor::zeros([0, 3], CPU).set_requires_grad(true);
    let (logprobs, entropy) = chunked_logprobs(&h, &Tensor::ones([4, 3], CPU), &empty, 1.0, 8).unwrap();
    assert_eq!((logprobs.size(), entropy.size()), (vec![0], vec![0]));
}

#[test]
fn an_impossible_token_has_no_entropy_and_no_nan() {
    let logits = Tensor::from_slice2(&[[0f32, f32::NEG_INFINITY]]);
    assert_eq!(token_entropy(&logits).unwrap().double_value(&[0]), 0.0);
}

#[test]
fn bad_input_is_named() {
    let (h, w) = (Tensor::zeros([3, 4], CPU), Tensor::zeros([7, 5], CPU));
    let ids = Tensor::from_slice(&[0i64, 1, 2]);
    assert!(matches!(chunked_logprobs(&h, &w, &ids, 1.0, 8), Err(Error::Shape { name: "output_matrix", .. })));
    let w = Tensor::zeros([2, 4], CPU);
    assert!(matches!(chunked_logprobs(&h, &w, &ids, 1.0, 8), Err(Error::TokenOutOfRange { id: 2, vocab: 2, .. })));
    let w = Tensor::zeros([7, 4], CPU);
    assert!(matches!(chunked_logprobs(&h, &w, &ids, 0.0, 8), Err(Error::Setting { name: "temperature", .. })));
    assert!(matches!(chunked_logprobs(&h, &w, &ids, 1.0, 0), Err(Error::Setting { name: "chunk", .. })));
    assert!(matches!(token_logprobs(&h, &ids.slice(0, 0, 2, 1)), Err(Error::Shape { name: "ids", .. })));
}
