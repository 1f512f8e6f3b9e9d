//! The nodes of the autograd graph that layers are made of, against the operations that they stand for.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tch::{Device, Kind, Tensor};
use vr1_torch::{linear, rotate, silu_product};

fn random(size: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(size, (Kind::Double, Device::Cpu)).to_kind(kind)
}

/// `x cos + [−b, a] sin`, operation by operation.
fn by_hand(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    let halves = x.chunk(2, -1);
    let turned = Tensor::cat(&[-&halves[1], halves[0].shallow_clone()], -1);
    (x * cos + turned * sin).to_kind(x.kind())
}

/// Output and gradient.
fn with_gradients<const N: usize>(
    inputs: [&Tensor; N],
    weights: &Tensor,
    function: impl Fn(&[Tensor; N]) -> Tensor,
) -> Vec<Tensor> {
    let leaves = inputs.map(|x| x.detach().copy().set_requires_grad(true));
    let out = function(&leaves);
    (&out * weights).sum(Kind::Double).backward();
    std::iter::once(out.detach()).chain(leaves.iter().map(Tensor::grad)).collect()
}

fn off(found: &Tensor, truth: &Tensor) -> f64 {
    let [found, truth] = [found, truth].map(|x| x.to_kind(Kind::Double));
    ((found - &truth).norm() / truth.norm()).double_value(&[])
}

/// The rotation of `tokens` heads of size `d`: the halves of cosines and sines are alike.
fn turn(tokens: i64, d: i64, kind: Kind) -> [Tensor; 2] {
    let angles = random(&[tokens, 1, d / 2], Kind::Double) * 3.0;
    [angles.cos(), angles.sin()].map(|half| Tensor::cat(&[&half, &half], -1).to_kind(kind))
}

#[test]
fn a_rotation_and_its_gradient_are_those_of_the_operations() {
    tch::manual_seed(1);
    let [cos, sin] = turn(37, 12, Kind::Double);
    let (x, weights) = (random(&[37, 3, 12], Kind::Double), random(&[37, 3, 12], Kind::Double));
    for (kind, tolerance) in [(Kind::Double, 1e-14), (Kind::Float, 1e-6)] {
        let [x, weights, cos, sin] = [&x, &weights, &cos, &sin].map(|tensor| tensor.to_kind(kind));
        let found = with_gradients([&x], &weights, |[x]| rotate(x, &cos, &sin).unwrap());
        let expected = with_gradients([&x], &weights, |[x]| by_hand(x, &cos, &sin));
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((found.kind(), found.size()), (kind, expected.size()));
            assert!(off(found, expected) < tolerance, "{kind:?}: off by {}", off(found, expected));
        }
    }
}

#[test]
fn a_rotation_rounds_as_the_operations_do() {
    tch::manual_seed(2);
    // Narrow heads turned in their own kind, and in f32 as towers turn them; wide heads turned by f32.
    for (kind, factors) in [
        (Kind::BFloat16, Kind::BFloat16),
        (Kind::Half, Kind::Half),
        (Kind::BFloat16, Kind::Float),
        (Kind::Half, Kind::Float),
        (Kind::Double, Kind::Float),
        (Kind::Float, Kind::Float),
    ] {
        let [cos, sin] = turn(50, 16, factors);
        let x = random(&[50, 2, 16], kind);
        let found = rotate(&x, &cos, &sin).unwrap();
        assert!(found.equal(&by_hand(&x, &cos, &sin)), "{kind:?} by {factors:?}");
        assert_eq!(found.kind(), kind);
    }
}

#[test]
fn narrow_gradients_of_a_rotation_are_as_near_the_truth_as_those_of_the_operations() {
    tch::manual_seed(3);
    let [cos, sin] = turn(64, 16, Kind::Double);
    let (x, weights) = (random(&[64, 4, 16], Kind::BFloat16), random(&[64, 4, 16], Kind::BFloat16));
    let wide = |tensor: &Tensor| tensor.to_kind(Kind::Float);
    let [narrow_cos, narrow_sin] = [&cos, &sin].map(|factor| factor.to_kind(Kind::BFloat16));
    let truth = with_gradients([&wide(&x)], &wide(&weights), |[x]| by_hand(x, &wide(&narrow_cos), &wide(&narrow_sin)));
    let found = with_gradients([&x], &weights, |[x]| rotate(x, &narrow_cos, &narrow_sin).unwrap());
    let plain = with_gradients([&x], &weights, |[x]| by_hand(x, &narrow_cos, &narrow_sin));
    for ((found, plain), truth) in found.iter().zip(&plain).zip(&truth) {
        assert!(off(found, truth) <= 1.1 * off(plain, truth), "{} against {}", off(found, truth), off(plain, truth));
    }
}

#[test]
fn heads_that_lie_among_others_are_rotated_where_they_are() {
    tch::manual_seed(4);
    let [cos, sin] = turn(6, 8, Kind::Float);
    let all = random(&[2, 3, 7 * 8], Kind::Float);
    let [cos, sin] = [cos, sin].map(|factor| factor.view([2, 3, 1, 8]));
    let heads = all.view([2, 3, 7, 8]).narrow(2, 1, 4);
    let found = rotate(&heads, &cos, &sin).unwrap();
    assert!(found.is_contiguous() && found.equal(&by_hand(&heads, &cos, &sin)));
    let turned = heads.transpose(2, 3).contiguous().transpose(2, 3);
    assert!(rotate(&turned, &cos, &sin).unwrap().equal(&found), "numbers of a head apart");
    let none = Tensor::zeros([0, 2, 8], (Kind::Float, Device::Cpu));
    let no = Tensor::zeros([0, 1, 8], (Kind::Float, Device::Cpu));
    assert_eq!(rotate(&none, &no, &no).unwrap().size(), [0, 2, 8]);
}

#[test]
fn a_gated_product_and_its_gradients_are_those_of_the_operations() {
    tch::manual_seed(5);
    let [gate, up, weights] = [0, 1, 2].map(|_| random(&[33, 20], Kind::Double) * 2.0);
    let plain = |[gate, up]: &[Tensor; 2]| gate.silu() * up;
    let own = |[gate, up]: &[Tensor; 2]| silu_product(gate, up).unwrap();
    for (kind, tolerance) in [(Kind::Double, 1e-14), (Kind::Float, 1e-6)] {
        let [gate, up, weights] = [&gate, &up, &weights].map(|tensor| tensor.to_kind(kind));
        let found = with_gradients([&gate, &up], &weights, own);
        for (found, expected) in found.iter().zip(with_gradients([&gate, &up], &weights, plain)) {
            assert!(off(found, &expected) < tolerance, "{kind:?}: off by {}", off(found, &expected));
        }
    }
    let [gate, up, weights] = [&gate, &up, &weights].map(|tensor| tensor.to_kind(Kind::BFloat16));
    let wide = |tensor: &Tensor| tensor.to_kind(Kind::Float);
    let truth = with_gradients([&wide(&gate), &wide(&up)], &wide(&weights), plain);
    let found = with_gradients([&gate, &up], &weights, own);
    for ((found, plain), truth) in found.iter().zip(with_gradients([&gate, &up], &weights, plain)).zip(&truth) {
        assert!(off(found, truth) <= 1.1 * off(&plain, truth), "{} against {}", off(found, truth), off(&plain, truth));
    }
    // One of the two may be no one's to learn.
    let leaf = gate.detach().copy().set_requires_grad(true);
    (silu_product(&leaf, &up).unwrap() * &weights).sum(Kind::Float).backward();
    assert!(leaf.grad().equal(&found[1]) && !up.requires_grad());
}

#[test]
fn without_gradients_nothing_is_recorded() {
    let [cos, sin] = turn(4, 8, Kind::Float);
    let x = random(&[4, 2, 8], Kind::Float).set_requires_grad(true);
    assert!(rotate(&x, &cos, &sin).unwrap().requires_grad());
    assert!(silu_product(&x, &x).unwrap().requires_grad());
    assert!(!tch::no_grad(|| rotate(&x, &cos, &sin)).unwrap().requires_grad());
    assert!(!tch::no_grad(|| silu_product(&x, &x)).unwrap().requires_grad());
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let [cos, sin] = turn(4, 8, Kind::Float);
    let x = random(&[4, 2, 8], Kind::Float);
    for (x, cos, sin, reason) in [
        (random(&[4, 2, 7], Kind::Float), &cos, &sin, "halves"),
        (random(&[5, 2, 8], Kind::Float), &cos, &sin, "every token"),
        (x.shallow_clone(), &cos, &sin.to_kind(Kind::Double), "kinds"),
        (x.to_kind(Kind::Int64), &cos, &sin, "kinds"),
    ] {
        let error = rotate(&x, cos, sin).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains(&format!("{:?}", x.size())), "{error}");
    }
    let error = silu_product(&x, &x.narrow(0, 0, 1)).unwrap_err().to_string();
    assert!(error.contains("[4, 2, 8]") && error.contains("[1, 2, 8]"), "{error}");
}

#[test]
fn a_linear_layer_over_a_few_rows_is_libtorchs_and_each_row_is_what_it_is_alone() {
    tch::manual_seed(6);
    // Numbers that fill whole vectors and pieces of the kernel, and such as do not.
    for (inputs, outputs) in [(640, 128), (1600, 48), (37, 1800), (801, 83), (16, 4099), (3, 5)] {
        let [weight, bias] = [&[outputs, inputs][..], &[outputs]].map(|size| random(size, Kind::Double));
        for kind in [Kind::Float, Kind::BFloat16] {
            let [weight, bias] = [&weight, &bias].map(|tensor| tensor.to_kind(kind));
            let many = random(&[33, inputs], kind);
            let truth = |x: &Tensor, bias: Option<&Tensor>| {
                let wide = |x: &Tensor| x.to_kind(Kind::Double);
                wide(x).linear(&wide(&weight), bias.map(wide).as_ref())
            };
            for rows in 1..=33 {
                let x = many.narrow(0, 0, rows);
                for bias in [None, Some(&bias)] {
                    let (found, plain) = (linear(&x, &weight, bias).unwrap(), x.linear(&weight, bias));
                    assert_eq!((found.kind(), found.size()), (kind, plain.size()));
                    // What rounding an f32, or a bf16 result and the sum with a bias, is off by.
                    let bound = if kind == Kind::Float { 1e-6 } else { 2f64.powi(-8) };
                    let off = off(&found, &truth(&x, bias));
                    assert!(off < bound, "{kind:?}, {rows} × {inputs} × {outputs}: off by {off}");
                }
                if own() && kind == Kind::Float && inputs * outputs >= 1 << 16 && (2..17).contains(&rows) {
                    let [few, two] = [&x, &many.narrow(0, 0, 2)].map(|x| linear(x, &weight, None).unwrap());
                    assert!(few.narrow(0, 0, 2).equal(&two), "{rows} rows × {inputs} × {outputs}");
                }
            }
        }
    }
}

/// Whether the processor has what the kernel of a few rows is made of.
fn own() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[test]
fn a_linear_layer_reads_rows_wherever_they_lie() {
    tch::manual_seed(7);
    let [x, weight] = [&[2, 3, 40][..], &[24, 40]].map(|size| random(size, Kind::Float));
    let expected = x.linear(&weight, None::<&Tensor>);
    assert!(linear(&x, &weight, None).unwrap().allclose(&expected, 1e-5, 1e-5, false));
    let apart = Tensor::cat(&[&x, &x], -1).narrow(-1, 0, 40);
    assert!(linear(&apart, &weight, None).unwrap().allclose(&expected, 1e-5, 1e-5, false));
    let turned = weight.tr().contiguous().tr();
    assert!(linear(&x, &turned, None).unwrap().allclose(&expected, 1e-5, 1e-5, false));
    let none = Tensor::zeros([0, 40], (Kind::Float, Device::Cpu));
    assert_eq!(linear(&none, &weight, None).unwrap().size(), [0, 24]);
    // With gradients it is libtorch's.
    let leaf = weight.copy().set_requires_grad(true);
    linear(&x, &leaf, None).unwrap().sum(Kind::Float).backward();
    assert!(leaf.grad().allclose(
        &(x.sum_dim_intlist([0i64, 1].as_slice(), false, Kind::Float).expand_as(&leaf)),
        1e-5,
        1e-5,
        false
    ));
    let error = linear(&x, &weight.narrow(1, 0, 39), None).unwrap_err().to_string();
    assert!(error.contains("[2, 3, 40]") && error.contains("[24, 39]"), "{error}");
}
