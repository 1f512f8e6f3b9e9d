//! The fused step against the equations, computed by hand in f64.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tch::{Device, Kind, Tensor};
use vr1_torch::{AdamWStep, Error, foreach_copy, foreach_norm, foreach_scale, foreach_shift, fused_adamw};

const HYPER: AdamWStep = AdamWStep { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.01, epsilon: 1e-8 };

#[test]
fn two_steps_follow_the_equations() {
    let (p, g) = ([1.0f64, -2.0, 3.0], [0.5f64, -0.25, 2.0]);
    let parameter = Tensor::from_slice(&p).to_kind(Kind::Float);
    let gradient = Tensor::from_slice(&g).to_kind(Kind::Float);
    let (m, v) = (parameter.zeros_like(), parameter.zeros_like());
    let step = Tensor::zeros([], (Kind::Float, Device::Cpu));
    for _ in 0..2 {
        foreach_shift(&[step.shallow_clone()], 1.0).unwrap();
        let lists = [&parameter, &gradient, &m, &v, &step].map(|t| vec![t.shallow_clone()]);
        fused_adamw(&lists[0], &lists[1], &lists[2], &lists[3], &lists[4], &HYPER).unwrap();
    }
    let found = Vec::<f32>::try_from(&parameter).unwrap();
    for i in 0..3 {
        let (mut x, mut m, mut v) = (p[i], 0.0, 0.0);
        for t in 1..=2 {
            x -= HYPER.learning_rate * HYPER.weight_decay * x;
            m = 0.9 * m + 0.1 * g[i];
            v = 0.99 * v + 0.01 * g[i] * g[i];
            let (mh, vh) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.99f64.powi(t)));
            x -= HYPER.learning_rate * mh / (vh.sqrt() + HYPER.epsilon);
        }
        assert!((f64::from(found[i]) - x).abs() < 1e-5, "{} against {x}", found[i]);
    }
}

#[test]
fn lists_of_different_length_are_an_error() {
    let one = || vec![Tensor::ones([2], (Kind::Float, Device::Cpu))];
    let error = fused_adamw(&one(), &[], &one(), &one(), &one(), &HYPER).unwrap_err();
    assert!(matches!(error, Error::Count { what: "gradients", expected: 1, found: 0 }));
}

#[test]
fn a_step_of_no_parameters_does_nothing() {
    assert!(fused_adamw(&[], &[], &[], &[], &[], &HYPER).is_ok());
}

#[test]
fn lists_are_as_tensor_after_tensor() {
    let of = |kind| [vec![3.0, 4.0], vec![-2.0]].map(|x: Vec<f64>| Tensor::from_slice(&x).to_kind(kind));
    for kind in [Kind::Float, Kind::BFloat16] {
        let tensors = of(kind);
        let norms: Vec<f64> = foreach_norm(&tensors).unwrap().iter().map(|norm| norm.double_value(&[])).collect();
        assert_eq!(norms, [5.0, 2.0]);
        foreach_scale(&tensors, 0.5).unwrap();
        foreach_shift(&tensors, 1.0).unwrap();
        assert_eq!(Vec::<f64>::try_from(tensors[0].to_kind(Kind::Double)).unwrap(), [2.5, 3.0]);
        let wide = of(Kind::Float);
        foreach_copy(&tensors, &wide).unwrap();
        assert_eq!(tensors[1], wide[1].to_kind(kind));
    }
    assert!(foreach_norm(&[]).unwrap().is_empty());
    assert!(matches!(foreach_copy(&of(Kind::Float), &[]), Err(Error::Count { what: "sources", .. })));
}
