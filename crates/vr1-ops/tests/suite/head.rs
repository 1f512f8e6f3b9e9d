//! The chunked head equals plain log-softmax over the tokens that can be sampled, in values and in gradients.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use tch::{Device, Kind, Tensor};
use vr1_ops::{Error, Head, HeadOutput, VocabularyMean, chunked_logprobs, head_logprobs};

const N: i64 = 23;
const D: i64 = 8;
const V: i64 = 31;
const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// Hidden states, a matrix, targets and random weights of log-probabilities, entropies and means. No target is in `unreachable`.
struct Case {
    hidden: Tensor,
    matrix: Tensor,
    targets: Tensor,
    weights: [Tensor; 3],
    unreachable: Vec<i64>,
    temperature: f64,
}

impl Case {
    fn new(unreachable: &[i64]) -> Self {
        tch::manual_seed(5);
        let reachable: Vec<i64> = (0..V).filter(|id| !unreachable.contains(id)).collect();
        let drawn = Tensor::randint(reachable.len() as i64, [N], (Kind::Int64, Device::Cpu));
        let matrix = Tensor::randn([V, D], F64);
        for &id in unreachable {
            // Their logits are beyond what an exponential holds.
            let _ = matrix.get(id).fill_(1e4);
        }
        Self {
            hidden: Tensor::randn([N, D], F64),
            matrix,
            targets: Tensor::from_slice(&reachable).index_select(0, &drawn),
            weights: [0; 3].map(|_| Tensor::randn([N], F64)),
            unreachable: unreachable.to_vec(),
            temperature: 0.7,
        }
    }

    fn leaves(&self) -> [Tensor; 2] {
        [&self.hidden, &self.matrix].map(|tensor| tensor.copy().set_requires_grad(true))
    }

    fn head(&self, leaves: &[Tensor; 2], chunk: i64) -> HeadOutput {
        let ids = Tensor::from_slice(&self.unreachable);
        let head = Head {
            temperature: self.temperature,
            unreachable: (!self.unreachable.is_empty()).then_some(&ids),
            chunk,
            vocabulary_mean: VocabularyMean::Taken,
            ..Head::new(&leaves[1])
        };
        head_logprobs(&leaves[0], &self.targets, &head).unwrap()
    }

    /// The same over a matrix whose unreachable rows have been deleted: log-probabilities, entropies, means, and the likeliest tokens.
    fn plain(&self, leaves: &[Tensor; 2]) -> [Tensor; 4] {
        let rows: Vec<i64> = (0..V).filter(|id| !self.unreachable.contains(id)).collect();
        let place = |id: i64| rows.iter().position(|&row| row == id).unwrap() as i64;
        let targets: Vec<i64> = Vec::<i64>::try_from(&self.targets).unwrap().into_iter().map(place).collect();
        let rows = Tensor::from_slice(&rows);
        let logits = leaves[0].matmul(&leaves[1].index_select(0, &rows).tr()) / self.temperature;
        let logprobs = logits.log_softmax(-1, Kind::Double);
        let picked = logprobs.gather(-1, &Tensor::from_slice(&targets).unsqueeze(-1), false).squeeze_dim(-1);
        let entropy = -(logprobs.exp() * &logprobs).sum_dim_intlist(-1i64, false, Kind::Double);
        let mean = logprobs.mean_dim(-1i64, false, Kind::Double);
        [picked, entropy, mean, rows.index_select(0, &logprobs.argmax(-1, false))]
    }

    /// Sum of the outputs that `use_of` selects, under their random weights.
    fn loss(&self, outputs: [&Tensor; 3], use_of: [bool; 3]) -> Tensor {
        let terms = outputs.iter().zip(&self.weights).zip(use_of).filter(|(_, used)| *used);
        terms.map(|((output, weight), _)| (*output * weight).sum(Kind::Double)).reduce(|a, b| a + b).unwrap()
    }
}

#[test]
fn it_equals_log_softmax_over_a_matrix_without_the_unreachable_rows() {
    let uses = [[true; 3], [true, false, false], [false, true, false], [false, false, true], [true, false, true]];
    for unreachable in [&[][..], &[4, 30, 0], &[4, 30, 0, 4, 4]] {
        let case = Case::new(unreachable);
        for chunk in [1, 5, 23, 1000] {
            for use_of in uses {
                let (leaves, plain_leaves) = (case.leaves(), case.leaves());
                let (out, plain) = (case.head(&leaves, chunk), case.plain(&plain_leaves));
                let outputs = [&out.logprobs, &out.entropy, out.mean_logprobs.as_ref().unwrap()];
                for (output, expected) in outputs.into_iter().zip(&plain) {
                    assert!(distance(output, expected) < 1e-12, "{unreachable:?} chunk {chunk}");
                }
                assert_eq!(out.likeliest, plain[3].eq_tensor(&case.targets));
                case.loss(outputs, use_of).backward();
                case.loss([&plain[0], &plain[1], &plain[2]], use_of).backward();
                for (leaf, plain) in leaves.iter().zip(&plain_leaves) {
                    assert!(distance(&leaf.grad(), &plain.grad()) < 1e-12, "{unreachable:?} chunk {chunk} {use_of:?}");
                }
                for &id in unreachable {
                    assert_eq!(leaves[1].grad().get(id).abs().max().double_value(&[]), 0.0);
                }
            }
        }
    }
}

#[test]
fn the_plain_form_is_the_head_without_its_extras() {
    let case = Case::new(&[]);
    let out = head_logprobs(&case.hidden, &case.targets, &Head::new(&case.matrix)).unwrap();
    let (logprobs, entropy) = chunked_logprobs(&case.hidden, &case.matrix, &case.targets, 1.0, 512).unwrap();
    assert_eq!((logprobs, entropy), (out.logprobs, out.entropy));
    assert!(out.mean_logprobs.is_none());
}

#[test]
fn half_precision_equals_f32_up_to_the_rounding_of_its_logits() {
    tch::manual_seed(3);
    let (n, d, v) = (9, 16, 4096);
    let targets = Tensor::randint_low(2, v, [n], (Kind::Int64, Device::Cpu));
    let unreachable = Tensor::from_slice(&[0i64, 1]);
    let f32 = (Kind::Float, Device::Cpu);
    let half = |tensor: Tensor| tensor.to_kind(Kind::BFloat16);
    let (hidden, matrix) = (half(Tensor::randn([n, d], f32)), half(Tensor::randn([v, d], f32) * 0.1));
    let run = |kind| {
        let leaf = |tensor: &Tensor| tensor.to_kind(kind).detach().set_requires_grad(true);
        let (h, w) = (leaf(&hidden), leaf(&matrix));
        let head =
            Head { unreachable: Some(&unreachable), chunk: 4, vocabulary_mean: VocabularyMean::Taken, ..Head::new(&w) };
        let out = head_logprobs(&h, &targets, &head).unwrap();
        let mean = out.mean_logprobs.unwrap();
        assert!([&out.logprobs, &out.entropy, &mean].iter().all(|tensor| tensor.kind() == Kind::Float));
        (&out.logprobs + &out.entropy + &mean).sum(Kind::Float).backward();
        assert_eq!((h.grad().kind(), w.grad().kind()), (kind, kind));
        let gradients = [h.grad().to_kind(Kind::Float), w.grad().to_kind(Kind::Float)];
        [out.logprobs.detach(), out.entropy.detach(), mean.detach()].into_iter().chain(gradients).collect::<Vec<_>>()
    };
    let plainly = |kind| {
        let leaf = |tensor: &Tensor| tensor.to_kind(kind).detach().set_requires_grad(true);
        let (h, w) = (leaf(&hidden), leaf(&matrix));
        let reached: Vec<i64> = (0..v).filter(|id| !Vec::<i64>::try_from(&unreachable).unwrap().contains(id)).collect();
        let places = targets.unsqueeze(-1).eq_tensor(&Tensor::from_slice(&reached).unsqueeze(0)).to_kind(Kind::Int64);
        let p = h.matmul(&w.index_select(0, &Tensor::from_slice(&reached)).tr()).log_softmax(-1, Kind::Float);
        let logprobs = p.gather(-1, &places.argmax(-1, true), false).squeeze_dim(-1);
        let entropy = -(p.exp() * &p).sum_dim_intlist(-1, false, Kind::Float);
        let mean = p.mean_dim(-1, false, Kind::Float);
        (&logprobs + &entropy + &mean).sum(Kind::Float).backward();
        let gradients = [h.grad().to_kind(Kind::Float), w.grad().to_kind(Kind::Float)];
        [logprobs.detach(), entropy.detach(), mean.detach()].into_iter().chain(gradients).collect::<Vec<_>>()
    };
    // What rounding logits and gradients to bf16 costs on this machine, by libtorch's own operators.
    let (half, full, plain) = (run(Kind::BFloat16), run(Kind::Float), plainly(Kind::BFloat16));
    for ((half, full), plain) in half.iter().zip(&full).zip(&plain) {
        let off = |found: &Tensor| (found - full).norm().double_value(&[]);
        assert!(off(half) < 1.5 * off(plain), "off by {}, libtorch by {}", off(half), off(plain));
    }
}

#[test]
fn a_half_precision_gradient_of_the_matrix_does_not_depend_on_the_chunk() {
    // Two tokens that all but cancel: rounded one by one, what is left of them would be noise.
    tch::manual_seed(7);
    let f32 = (Kind::Float, Device::Cpu);
    let hidden = Tensor::randn([1, 16], f32).repeat([2, 1]).to_kind(Kind::BFloat16);
    let matrix = (Tensor::randn([64, 16], f32) * 0.1).to_kind(Kind::BFloat16);
    let (targets, weights) = (Tensor::from_slice(&[3i64, 3]), Tensor::from_slice(&[1f32, -1.01]));
    let [one, both] = [1, 2].map(|chunk| {
        let leaf = matrix.copy().set_requires_grad(true);
        let out = head_logprobs(&hidden, &targets, &Head { chunk, ..Head::new(&leaf) }).unwrap();
        (out.logprobs * &weights).sum(Kind::Float).backward();
        leaf.grad().to_kind(Kind::Float)
    });
    assert!(both.abs().max().double_value(&[]) > 1e-3);
    // One step of bf16.
    assert!(((&one - &both).abs() - both.abs() / 128.0).max().double_value(&[]) <= 0.0);
}

#[test]
fn a_tie_for_the_likeliest_is_likeliest_too_and_nothing_flows_through_it() {
    let matrix = Tensor::from_slice2(&[[1f32], [1.0], [0.0]]).set_requires_grad(true);
    let hidden = Tensor::from_slice2(&[[1f32], [1.0], [1.0]]);
    let out = head_logprobs(&hidden, &Tensor::from_slice(&[0i64, 1, 2]), &Head::new(&matrix)).unwrap();
    assert_eq!(Vec::<bool>::try_from(&out.likeliest).unwrap(), [true, true, false]);
    assert!(out.logprobs.requires_grad() && !out.likeliest.requires_grad());
}

#[test]
fn an_unreachable_target_and_ids_out_of_place_are_named() {
    let case = Case::new(&[]);
    let run = |unreachable: &Tensor| {
        let head = Head { unreachable: Some(unreachable), ..Head::new(&case.matrix) };
        head_logprobs(&case.hidden, &case.targets, &head).map(|_| ()).unwrap_err()
    };
    let target = case.targets.int64_value(&[7]);
    assert_eq!(
        run(&Tensor::from_slice(&[target])).to_string(),
        format!(
            "`targets` holds the id {target}, which `unreachable` says is never sampled: its log-probability is −∞"
        )
    );
    let outside = run(&Tensor::from_slice(&[V]));
    assert!(matches!(outside, Error::TokenOutOfRange { name: "unreachable", id: V, vocab: V }));
    assert!(matches!(run(&Tensor::from_slice(&[1f32])), Error::Kind { name: "unreachable", .. }));
    assert!(matches!(run(&Tensor::from_slice2(&[[1i64]])), Error::Rank { name: "unreachable", .. }));
    // Nothing unreachable is nothing special.
    let none = Tensor::zeros([0], (Kind::Int64, Device::Cpu));
    let head = Head { unreachable: Some(&none), ..Head::new(&case.matrix) };
    assert!(head_logprobs(&case.hidden, &case.targets, &head).is_ok());
}
