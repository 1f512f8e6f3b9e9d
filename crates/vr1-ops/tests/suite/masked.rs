//! Masked sums and means ignore what stands at masked positions.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use tch::{Kind, Tensor};
use vr1_ops::{Error, masked_mean, masked_row_mean};

#[test]
fn a_masked_nan_reaches_neither_value_nor_gradient() {
    let values = Tensor::from_slice2(&[[1f32, f32::NAN], [f32::INFINITY, 3.0]]).set_requires_grad(true);
    let mask = Tensor::from_slice2(&[[1i64, 0], [0, 1]]);
    let mean = masked_mean(&values, &mask).unwrap();
    assert_eq!(mean.double_value(&[]), 2.0);
    mean.backward();
    assert_eq!(Vec::<f32>::try_from(values.grad().flatten(0, -1)).unwrap(), [0.5, 0.0, 0.0, 0.5]);
}

#[test]
fn an_empty_mask_is_an_error_and_an_empty_row_is_zero() {
    let values = Tensor::ones([2, 2], (Kind::Float, tch::Device::Cpu));
    let mask = Tensor::from_slice2(&[[1i64, 1], [0, 0]]);
    assert_eq!(Vec::<f32>::try_from(masked_row_mean(&values, &mask).unwrap()).unwrap(), [1.0, 0.0]);
    assert!(matches!(masked_mean(&values, &mask.zeros_like()), Err(Error::EmptyMask { .. })));
}
