//! Attention within segments is attention over all patches under a mask that hides those of other segments.

use tch::{Device, Kind, Tensor};
use vr1_nn::{Heads, Segments, attention};

const LENGTHS: [i64; 7] = [4, 4, 1, 9, 9, 9, 2];
const TOKENS: i64 = 38;
const DIM: i64 = 16;

fn heads() -> Heads {
    Heads::new(3, 3, DIM).unwrap()
}

/// What every number of the output, and of the gradients of queries, keys and values, is.
fn run(inputs: &[Tensor; 3], weights: &Tensor, over: impl Fn(&[Tensor; 3]) -> Tensor) -> [Tensor; 4] {
    let leaves = inputs.each_ref().map(|x| x.detach().copy().set_requires_grad(true));
    let out = over(&leaves);
    (&out * weights).sum(Kind::Float).backward();
    let [q, k, v] = leaves.each_ref().map(Tensor::grad);
    [out.detach(), q, k, v].map(|x| x.to_device(Device::Cpu).to_kind(Kind::Double))
}

fn masked([q, k, v]: &[Tensor; 3]) -> Tensor {
    let number: Vec<i64> = (0i64..).zip(LENGTHS).flat_map(|(i, length)| vec![i; length as usize]).collect();
    let number = Tensor::from_slice(&number).to_device(q.device());
    let hidden = number.unsqueeze(0).ne_tensor(&number.unsqueeze(1));
    let mask = Tensor::zeros([TOKENS, TOKENS], (q.kind(), q.device())).masked_fill(&hidden, f64::NEG_INFINITY);
    attention(&q.unsqueeze(0), &k.unsqueeze(0), &v.unsqueeze(0), Some(&mask), heads()).squeeze_dim(0)
}

fn segments([q, k, v]: &[Tensor; 3]) -> Tensor {
    let segments = Segments::new(LENGTHS);
    // As every block of a tower asks them again.
    assert!(segments.attention(q, k, v, heads()).equal(&segments.attention(q, k, v, heads())));
    segments.attention(q, k, v, heads())
}

fn random() -> ([Tensor; 3], Tensor) {
    tch::manual_seed(4);
    let one = || Tensor::randn([TOKENS, 3, DIM], (Kind::Double, Device::Cpu));
    ([one(), one(), one()], one().flatten(1, 2))
}

fn off(found: &Tensor, truth: &Tensor) -> f64 {
    ((found - truth).norm() / truth.norm()).double_value(&[])
}

#[test]
fn a_patch_sees_its_own_segment_forwards_and_backwards() {
    let (inputs, weights) = random();
    for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 1e-5)] {
        let (inputs, weights) = (inputs.each_ref().map(|x| x.to_kind(kind)), weights.to_kind(kind));
        for (found, expected) in run(&inputs, &weights, segments).iter().zip(run(&inputs, &weights, masked)) {
            assert!(off(found, &expected) < tolerance, "{kind:?}: off by {}", off(found, &expected));
        }
    }
}

/// By the kernel of CUDA for segments side by side; where there is no GPU, it says so and passes.
#[test]
fn narrow_kinds_on_a_gpu_are_about_as_exact_as_under_the_mask() {
    let Ok(device) = vr1_torch::device("cuda").inspect_err(|error| println!("skipped: {error}")) else { return };
    let (inputs, weights) = random();
    for kind in [Kind::BFloat16, Kind::Half] {
        let to = |x: &Tensor| x.to_kind(kind).to_device(device);
        let (inputs, weights) = (inputs.each_ref().map(to), to(&weights));
        let truth = run(&inputs.each_ref().map(|x| x.to_kind(Kind::Double)), &weights.to_kind(Kind::Double), masked);
        let plain = run(&inputs, &weights, masked);
        for ((found, plain), truth) in run(&inputs, &weights, segments).iter().zip(&plain).zip(&truth) {
            let (found, plain) = (off(found, truth), off(plain, truth));
            assert!(found < 2.0 * plain, "{kind:?}: off by {found}, under the mask by {plain}");
        }
    }
}
