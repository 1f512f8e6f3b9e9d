use std::ffi::{c_char, c_void};
use std::ptr;

use tch::{Device, Kind, Tensor};

use crate::kernels::Kernel;
use crate::message::check;
use crate::own::{Own, answer, element_wise};
use crate::trial::{Pair, trusted, varied};
use crate::{Result, described, unfit};

unsafe extern "C" {
    fn vr1_quick_gelu(x: *const c_void, own: Option<Own>, out: *mut *mut c_void) -> *mut c_char;
}

/// `x σ(1.702 x)`, the approximation of GELU that CLIP was trained with (Hendrycks & Gimpel,
/// [arXiv:1606.08415](https://arxiv.org/abs/1606.08415)), as one node of the graph that keeps `x` alone.
///
/// A second derivative is an error of the backward pass that asks for it.
///
/// # Errors
/// If `x` has no floating-point kind, or libtorch fails.
///
/// # Example
/// ```
/// let y = vr1_torch::quick_gelu(&tch::Tensor::from_slice(&[0.0f64, 1.0]))?;
/// // 1 / (1 + e^−1.702) = 0.8458
/// assert!((y.double_value(&[1]) - 0.845_795).abs() < 1e-6);
/// # Ok::<(), vr1_torch::Error>(())
/// ```
pub fn quick_gelu(x: &Tensor) -> Result<Tensor> {
    if !x.is_floating_point() {
        return Err(unfit("quick_gelu", format!("{} is of no kind that numbers are bent in", described(x))));
    }
    bent(x, Some(own))
}

fn bent(x: &Tensor, own: Option<Own>) -> Result<Tensor> {
    let mut out = ptr::null_mut();
    // SAFETY: the tensor outlives the call, which catches every exception of C++; where it returns null, it has written a tensor that
    // nobody else owns.
    unsafe {
        check(vr1_quick_gelu(x.as_ptr().cast(), own, &mut out))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

/// # Safety
/// That of [`answer`]; the tensor is `x`, a gradient before it for the way back.
unsafe extern "C" fn own(
    inputs: *const *const c_void,
    count: usize,
    _: f64,
    out: *mut *mut c_void,
    wanted: usize,
) -> bool {
    let made = |inputs: &[Tensor]| match trusted(Kernel::QuickGelu, &inputs[0], &[], trial)? {
        true => element_wise(Kernel::QuickGelu, inputs.len() - 1, inputs),
        false => Ok::<Option<[Tensor; 1]>, _>(None),
    };
    // SAFETY: the caller's promise.
    unsafe { answer((inputs, count), (out, wanted), made) }
}

fn trial(device: Device, kind: Kind) -> Result<Vec<Pair>> {
    let numbers = |seed| Ok::<_, crate::Error>(varied(&[3, 520], seed, device, kind)?.f_mul_scalar(6.0)?);
    let (gradient, x) = (numbers(0.0)?, numbers(0.1)?);
    let forth = element_wise(Kernel::QuickGelu, 0, &[x.shallow_clone()])?;
    let back = element_wise(Kernel::QuickGelu, 1, &[gradient.shallow_clone(), x.shallow_clone()])?;
    let (Some([forth]), Some([back])) = (forth, back) else { return Ok(Vec::new()) };
    let sigmoid = x.f_mul_scalar(1.702)?.f_sigmoid()?;
    let slope = sigmoid.f_sub(&sigmoid.f_square()?)?.f_mul(&x)?.f_mul_scalar(1.702)?.f_add(&sigmoid)?;
    Ok(vec![Pair::rounded(forth, bent(&x, None)?), Pair::rounded(back, slope.f_mul(&gradient)?)])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn output_and_gradient_are_those_of_the_operations() {
        for (kind, tolerance) in [(Kind::Double, 1e-14), (Kind::Float, 1e-6), (Kind::BFloat16, 2e-2)] {
            let x = varied(&[7, 33], 0.0, Device::Cpu, Kind::Double).unwrap() * 6.0;
            let weights = varied(&[7, 33], 0.5, Device::Cpu, Kind::Double).unwrap().to_kind(kind);
            let of = |function: &dyn Fn(&Tensor) -> Tensor| {
                let leaf = x.to_kind(kind).set_requires_grad(true);
                let y = function(&leaf);
                (&y * &weights).sum(Kind::Double).backward();
                [y.detach(), leaf.grad()]
            };
            let found = of(&|x| quick_gelu(x).unwrap());
            let plain = of(&|x| x * (x * 1.702).sigmoid());
            for (found, plain) in found.iter().zip(&plain) {
                assert!(found.allclose(plain, tolerance, tolerance, false), "{kind:?}");
            }
        }
        assert!(!tch::no_grad(|| quick_gelu(&Tensor::from(1.0f32).set_requires_grad(true))).unwrap().requires_grad());
    }
}
