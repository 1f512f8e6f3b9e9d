use std::ffi::{c_char, c_void};
use std::ptr;

use tch::Tensor;

use crate::message::check;
use crate::{Result, described, unfit};

unsafe extern "C" {
    fn vr1_silu_product(gate: *const c_void, up: *const c_void, out: *mut *mut c_void) -> *mut c_char;
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
    let mut out = ptr::null_mut();
    // SAFETY: the tensors outlive the call, which catches every exception of C++; where it returns null, it has written a
    // tensor that nobody else owns.
    unsafe {
        check(vr1_silu_product(gate.as_ptr().cast(), up.as_ptr().cast(), &mut out))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}
