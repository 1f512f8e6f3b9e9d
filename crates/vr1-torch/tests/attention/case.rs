//! Random groups, and what computes each of their sequences alone.

use tch::{Device, Kind, Tensor};
use vr1_torch::{Groups, shared_prefix_attention};

pub(crate) type Lengths = Vec<(i64, Vec<i64>)>;

/// Groups of 0, 1, 3 and 8 suffixes; prefixes and suffixes on both sides of what is padded together.
pub(crate) fn ragged() -> Lengths {
    vec![
        (7, vec![]),
        (19, vec![5]),
        (1, vec![1, 2, 1]),
        (40, vec![30, 3, 61, 17, 30, 1, 44, 29]),
        (300, vec![270, 2, 33]),
    ]
}

/// Random queries, keys and values that want gradients, and the weights of the output in a loss.
pub(crate) struct Case {
    pub(crate) inputs: [Tensor; 3],
    pub(crate) weights: Tensor,
    pub(crate) lengths: Lengths,
    pub(crate) device: Device,
}

impl Case {
    pub(crate) fn new(lengths: Lengths, (heads, shared, d): (i64, i64, i64), seed: i64) -> Self {
        tch::manual_seed(seed);
        let tokens = Groups::new(lengths.clone()).unwrap().tokens();
        let random = |heads| Tensor::randn([tokens, heads, d], (Kind::Double, Device::Cpu));
        let inputs = [random(heads), random(shared), random(shared)];
        Self { inputs, weights: random(heads), lengths, device: Device::Cpu }
    }

    /// Output and gradients of the three inputs in `kind` on the device, as f64 on the CPU.
    pub(crate) fn run(&self, kind: Kind, attention: impl Fn([&Tensor; 3], &Lengths) -> Tensor) -> [Tensor; 4] {
        let inputs = [0, 1, 2]
            .map(|i| self.inputs[i].to_device(self.device).to_kind(kind).detach().copy().set_requires_grad(true));
        let [q, k, v] = &inputs;
        let out = attention([q, k, v], &self.lengths);
        assert_eq!(out.kind(), kind);
        (&out * self.weights.to_device(self.device).to_kind(kind)).sum(Kind::Double).backward();
        [out.detach(), q.grad(), k.grad(), v.grad()].map(|x| x.to_device(Device::Cpu).to_kind(Kind::Double))
    }
}

pub(crate) fn shared(x: [&Tensor; 3], lengths: &Lengths) -> Tensor {
    shared_prefix_attention(x[0], x[1], x[2], &Groups::new(lengths.clone()).unwrap()).unwrap()
}

/// Each sequence by itself, by `attention` of queries, keys and values `[T, heads, d]`.
pub(crate) fn alone(x: [&Tensor; 3], lengths: &Lengths, attention: impl Fn([Tensor; 3]) -> Tensor) -> Tensor {
    let mut start = 0;
    let mut parts = Vec::new();
    for (prefix, suffixes) in lengths {
        let slice = |start: i64, length: i64| x.map(|x| x.narrow(0, start, length));
        let first = slice(start, *prefix);
        start += prefix;
        parts.push(attention(first.each_ref().map(Tensor::shallow_clone)));
        for &suffix in suffixes {
            let own = slice(start, suffix);
            start += suffix;
            let whole = [0, 1, 2].map(|i| Tensor::cat(&[&first[i], &own[i]], 0));
            parts.push(attention(whole).narrow(0, *prefix, suffix));
        }
    }
    Tensor::cat(&parts, 0)
}

/// `softmax(q kᵀ / √d + mask) v`, with keys and values repeated for their heads.
pub(crate) fn by_definition(x: [&Tensor; 3], lengths: &Lengths) -> Tensor {
    alone(x, lengths, |[q, k, v]| {
        let [tokens, heads, d] = <[i64; 3]>::try_from(q.size()).unwrap();
        let repeat = |x: Tensor| x.repeat_interleave_self_int(heads / k.size()[1], 1, None).transpose(0, 1);
        let hidden = Tensor::ones([tokens, tokens], (Kind::Bool, q.device())).triu(1);
        let scores = q.transpose(0, 1).matmul(&repeat(k.shallow_clone()).transpose(1, 2)) / (d as f64).sqrt();
        let weights = scores.masked_fill(&hidden, f64::NEG_INFINITY).softmax(-1, q.kind());
        weights.matmul(&repeat(v)).transpose(0, 1)
    })
}

/// The fused kernel on whole sequences.
pub(crate) fn by_fused(x: [&Tensor; 3], lengths: &Lengths) -> Tensor {
    alone(x, lengths, |x| {
        let [q, k, v] = x.map(|x| x.transpose(0, 1).unsqueeze(0));
        let out = Tensor::scaled_dot_product_attention::<Tensor>(&q, &k, &v, None, 0.0, true, None, true);
        out.squeeze_dim(0).transpose(0, 1)
    })
}

pub(crate) fn largest(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

pub(crate) fn rms(x: &Tensor) -> f64 {
    x.square().mean(Kind::Double).sqrt().double_value(&[])
}

pub(crate) const NAMES: [&str; 4] = ["output", "gradient of queries", "gradient of keys", "gradient of values"];

/// The largest difference, over the largest number where `relative`.
pub(crate) fn assert_close(found: &[Tensor; 4], expected: &[Tensor; 4], tolerance: f64, context: &str) {
    for ((found, expected), name) in found.iter().zip(expected).zip(NAMES) {
        let off = largest(&(found - expected)) / largest(expected).max(1.0);
        assert!(off < tolerance, "{name} is off by {off:e} ({context})");
    }
}

/// The error that rounding to a half kind makes is compared with that of whole sequences in the same kind.
pub(crate) fn assert_about_as_exact(lengths: &Lengths, heads: (i64, i64, i64), kind: Kind, device: Device) {
    let (mut ours, mut whole) = ([0.0; 4], [0.0; 4]);
    for seed in 0..4 {
        let mut case = Case::new(lengths.clone(), heads, 100 + seed);
        case.inputs = case.inputs.map(|x| x.to_kind(kind).to_kind(Kind::Double));
        case.weights = case.weights.to_kind(kind).to_kind(Kind::Double);
        let truth = case.run(Kind::Double, by_definition);
        case.device = device;
        let (a, b) = (case.run(kind, shared), case.run(kind, by_fused));
        for i in 0..4 {
            ours[i] += rms(&(&a[i] - &truth[i])).powi(2);
            whole[i] += rms(&(&b[i] - &truth[i])).powi(2);
        }
    }
    let ratios = [0, 1, 2, 3].map(|i| (ours[i] / whole[i]).sqrt());
    println!("{kind:?} on {device:?}, heads {heads:?}: {ratios:.3?} times the error of whole sequences");
    for (ratio, name) in ratios.into_iter().zip(NAMES) {
        assert!(ratio <= 1.5, "{kind:?} on {device:?}: {name} is off {ratio:.2} times as much as by whole sequences");
    }
}
