use std::ffi::c_void;
use std::ptr;

use tch::Tensor;

use crate::{Error, Result, described};

unsafe extern "C" {
    fn vr1_take_gradient(tensor: *const c_void) -> *mut c_void;
    fn vr1_put_gradient(tensor: *const c_void, gradient: *const c_void);
    fn vr1_gradients_collected() -> bool;
    fn vr1_collect_gradients(collect: bool);
}

/// Moves the gradient out of a leaf, which has none afterwards; `None` where there is none.
///
/// tch can set a gradient to zero, which keeps its memory and makes an optimizer step on it.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let x = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// (&x * 3.0).sum(Kind::Float).backward();
/// assert_eq!(Vec::<f32>::try_from(vr1_torch::take_gradient(&x).unwrap())?, [3.0, 3.0]);
/// assert!(vr1_torch::take_gradient(&x).is_none() && !x.grad().defined());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn take_gradient(tensor: &Tensor) -> Option<Tensor> {
    // SAFETY: the tensor outlives the call; a tensor that comes back is ours alone.
    unsafe {
        let gradient = vr1_take_gradient(tensor.as_ptr().cast());
        (!gradient.is_null()).then(|| Tensor::from_ptr(gradient.cast()))
    }
}

/// Makes `gradient` the gradient of a leaf, in place of any it has; `None` leaves it without one. Nothing is copied.
///
/// # Errors
/// If shapes, kinds or devices differ.
pub fn put_gradient(tensor: &Tensor, gradient: Option<&Tensor>) -> Result<()> {
    if let Some(gradient) = gradient {
        let facts = |x: &Tensor| (x.size(), x.kind(), x.device());
        if facts(gradient) != facts(tensor) {
            return Err(Error::Gradient { gradient: described(gradient), tensor: described(tensor) });
        }
    }
    let gradient = gradient.map_or(ptr::null(), |gradient| gradient.as_ptr().cast());
    // SAFETY: both tensors outlive the call, and the gradient fits.
    unsafe { vr1_put_gradient(tensor.as_ptr().cast(), gradient) };
    Ok(())
}

/// Whether what is computed on this thread is recorded for a backward pass where a tensor asks for it: not within
/// [`tch::no_grad`].
///
/// # Example
/// ```
/// assert!(vr1_torch::gradients_collected());
/// assert!(!tch::no_grad(vr1_torch::gradients_collected));
/// ```
pub fn gradients_collected() -> bool {
    // SAFETY: it reads a flag of the thread.
    unsafe { vr1_gradients_collected() }
}

/// Has operations on this thread recorded from here on, or not: what `tch`'s own scopes leave undone where a panic goes through them.
pub(crate) fn collect_gradients(collect: bool) {
    // SAFETY: it writes a flag of the thread.
    unsafe { vr1_collect_gradients(collect) }
}
