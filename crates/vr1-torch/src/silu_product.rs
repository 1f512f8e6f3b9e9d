use std::ffi::{c_char, c_void};
use std::ptr;

use tch::{Device, Kind, Tensor};

use crate::kernels::Kernel;
use crate::message::check;
use crate::own::{Own, answer, element_wise};
use crate::trial::{Pair, trusted, varied};
use crate::{Result, described, unfit};

unsafe extern "C" {
    fn vr1_silu_product(gate: *const c_void, up: *const c_void, own: Option<Own>, out: *mut *mut c_void)
    -> *mut c_char;
}

/// `silu(gate) ⊙ up`, `silu(x) = x σ(x)`, as one node of the graph.
///
/// For the backward pass it keeps `gate` and `up`, which the layers before them keep no less, and computes `silu(gate)`
/// again; a product of the two operations keeps that and its product too. A second derivative is an error of the backward
/// pass that asks for it.
///
/// # Shapes
/// Both and the result are of one shape, kind and device.
///
/// # Errors
/// If they are not, or libtorch fails.
///
/// # Example
/// ```
/// use tch::Tensor;
///
/// let product = vr1_torch::silu_product(&Tensor::from_slice(&[0.0f32, 1.0]), &Tensor::from_slice(&[5.0f32, 2.0]))?;
/// // 1 / (1 + e⁻¹) = 0.731
/// assert!(product.allclose(&Tensor::from_slice(&[0.0f32, 1.462_117]), 1e-6, 1e-6, false));
/// # Ok::<(), vr1_torch::Error>(())
/// ```
pub fn silu_product(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let facts = |x: &Tensor| (x.size(), x.kind(), x.device());
    if facts(gate) != facts(up) || !gate.is_floating_point() {
        return Err(unfit("silu_product", format!("{} does not gate {}", described(gate), described(up))));
    }
    product(gate, up, Some(own))
}

fn product(gate: &Tensor, up: &Tensor, own: Option<Own>) -> Result<Tensor> {
    let mut out = ptr::null_mut();
    // SAFETY: the tensors outlive the call, which catches every exception of C++; where it returns null, it has written a
    // tensor that nobody else owns.
    unsafe {
        check(vr1_silu_product(gate.as_ptr().cast(), up.as_ptr().cast(), own, &mut out))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

/// # Safety
/// That of [`answer`]; the tensors are gate and up, a gradient before them for the way back.
unsafe extern "C" fn own(
    inputs: *const *const c_void,
    count: usize,
    _: f64,
    out: *mut *mut c_void,
    wanted: usize,
) -> bool {
    let is_trusted = |x: &Tensor| trusted(Kernel::SiluProduct, x, &[], trial);
    let forth = |inputs: &[Tensor]| if is_trusted(&inputs[0])? { forth(inputs) } else { Ok(None) };
    let back = |inputs: &[Tensor]| if is_trusted(&inputs[0])? { back(inputs) } else { Ok(None) };
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            2 => answer((inputs, count), (out, wanted), forth),
            3 => answer((inputs, count), (out, wanted), back),
            _ => false,
        }
    }
}

fn forth(inputs: &[Tensor]) -> Result<Option<[Tensor; 1]>> {
    element_wise(Kernel::SiluProduct, 0, inputs)
}

fn back(inputs: &[Tensor]) -> Result<Option<[Tensor; 2]>> {
    element_wise(Kernel::SiluProduct, 1, inputs)
}

fn trial(device: Device, kind: Kind) -> Result<Vec<Pair>> {
    let numbers = |seed| Ok::<_, crate::Error>(varied(&[3, 520], seed, device, kind)?.f_mul_scalar(6.0)?);
    let (gradient, gate, up) = (numbers(0.0)?, numbers(0.1)?, numbers(0.2)?);
    let inputs = [gradient, gate, up];
    let (Some([forth]), Some([for_gate, for_up])) = (forth(&inputs[1..])?, back(&inputs)?) else {
        return Ok(Vec::new());
    };
    let [gradient, gate, up] = inputs;
    let opened = gate.f_silu()?;
    Ok(vec![
        Pair::rounded(forth, product(&gate, &up, None)?),
        Pair::rounded(for_gate, gradient.f_mul(&up)?.f_silu_backward(&gate)?),
        Pair::rounded(for_up, opened.f_mul(&gradient)?),
    ])
}
