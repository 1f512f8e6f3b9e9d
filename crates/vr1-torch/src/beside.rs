use std::ffi::{c_char, c_void};
use std::ptr;

use tch::Tensor;

use crate::message::check;
use crate::{Result, described, unfit};

unsafe extern "C" {
    fn vr1_beside(
        x: *const c_void,
        other: *const c_void,
        gradient: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
}

/// `x` as it is; the backward pass that comes through it brings `gradient`, as that is by then, to `other`.
///
/// It is how a loss is added that a layer makes on the way and that its output does not show: `gradient` is that loss's by `other`.
///
/// # Errors
/// If `gradient` is not of the shape, kind and device of `other`, or libtorch fails.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let [x, other] = [2.0f32, 3.0].map(|x| Tensor::from(x).set_requires_grad(true));
/// let mut gradient = Tensor::from(0.0f32);
/// let y = vr1_torch::beside(&x, &other, &gradient)? * 5.0;
/// let _ = gradient.fill_(0.25);
/// y.backward();
/// assert_eq!((y.double_value(&[]), x.grad().double_value(&[]), other.grad().double_value(&[])), (10.0, 5.0, 0.25));
/// # Ok::<(), vr1_torch::Error>(())
/// ```
pub fn beside(x: &Tensor, other: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let facts = |x: &Tensor| (x.size(), x.kind(), x.device());
    if facts(other) != facts(gradient) {
        return Err(unfit("beside", format!("{} is no gradient of {}", described(gradient), described(other))));
    }
    let mut out = ptr::null_mut();
    // SAFETY: the tensors outlive the call, which catches every exception of C++; where it returns null, it has written a
    // tensor that nobody else owns.
    unsafe {
        check(vr1_beside(x.as_ptr().cast(), other.as_ptr().cast(), gradient.as_ptr().cast(), &mut out))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}
