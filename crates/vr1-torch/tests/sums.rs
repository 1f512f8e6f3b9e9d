//! Gradients leave their leaves as they come.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tch::{Device, Kind, Tensor};
use vr1_torch::{GradientSums, allocated};

fn leaf(kind: Kind, size: i64) -> Tensor {
    Tensor::ones([size], (kind, Device::Cpu)).set_requires_grad(true)
}

#[test]
fn one_gradient_stays_in_its_kind_and_more_are_summed_in_f32() {
    for (kind, wide) in [(Kind::Float, Kind::Float), (Kind::BFloat16, Kind::Float), (Kind::Double, Kind::Double)] {
        for passes in [0usize, 1, 2, 300] {
            let (x, untouched) = (leaf(kind, 2), leaf(kind, 2));
            let sums = GradientSums::new([&x, &untouched]).unwrap();
            for _ in 0..passes {
                (&x * 3.0).sum(Kind::Float).backward();
                assert!(!x.grad().defined());
            }
            let found = sums.take();
            assert!(found[1].is_none());
            let sum = found[0].as_ref();
            assert_eq!(sum.map(|sum| sum.double_value(&[1])), (passes > 0).then_some(3.0 * passes as f64));
            assert_eq!(sum.map(Tensor::kind), (passes > 0).then_some(if passes == 1 { kind } else { wide }));
        }
    }
}

#[test]
fn leaves_are_as_before_when_the_sums_are_gone() {
    let x = leaf(Kind::Float, 2);
    drop(GradientSums::new([&x]).unwrap());
    (&x * 3.0).sum(Kind::Float).backward();
    assert_eq!(x.grad().double_value(&[0]), 3.0);
}

#[test]
fn narrow_gradients_are_never_held_all_at_once() {
    let leaves: Vec<Tensor> = (0..8).map(|_| leaf(Kind::BFloat16, 100_000)).collect();
    let sums = GradientSums::new(&leaves).unwrap();
    let pass = || {
        let parts: Vec<Tensor> = leaves.iter().map(|x| x.abs().sum(Kind::Float)).collect();
        Tensor::stack(&parts, 0).sum(Kind::Float).backward();
    };
    pass();
    pass();
    let (_, third) = allocated(pass).unwrap();
    assert!(third.peak < 4 * 200_000, "{third:?}");
    drop(sums);
}
