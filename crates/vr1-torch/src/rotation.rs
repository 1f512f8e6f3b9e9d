//! `T` tokens, `H` heads, `d` head size.

use std::ffi::{c_char, c_void};
use std::ptr;

use tch::Tensor;

use crate::message::check;
use crate::{Result, described, unfit};

unsafe extern "C" {
    fn vr1_rotate(x: *const c_void, cos: *const c_void, sin: *const c_void, out: *mut *mut c_void) -> *mut c_char;
}

/// `x cos + rotate_half(x) sin`, where `rotate_half([a, b]) = [−b, a]`, as one node of the graph that keeps nothing of `x`.
///
/// It is computed in the wider of both kinds, each product and the sum rounded to it, and given in that of `x`. The
/// gradient is the rotation back; `cos` and `sin`, whose halves are alike, get none. A second derivative is an error of
/// the backward pass that asks for it.
///
/// # Shapes
/// `x` `[…, T, H, d]`, `cos` and `sin` `[…, T, 1, d]`; the result has the shape of `x`, whose heads may lie apart.
///
/// # Errors
/// If shapes, kinds or devices do not fit together, or libtorch fails.
///
/// # Example
/// ```
/// use tch::Tensor;
///
/// // A quarter turn: the first half of a head becomes minus the second, the second the first.
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0]).view([1, 1, 4]);
/// let [cos, sin] = [0.0f32, 1.0].map(|value| Tensor::from_slice(&[value; 4]).view([1, 1, 4]));
/// let turned = vr1_torch::rotate(&x, &cos, &sin)?;
/// assert_eq!(Vec::<f32>::try_from(turned.view([-1]))?, [-3.0, -4.0, 1.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (shape, mut wanted) = (x.size(), x.size());
    let error = |reason: &str| {
        let [x, cos, sin] = [x, cos, sin].map(described);
        unfit("rotate", format!("{reason} (x {x}, cos {cos}, sin {sin})"))
    };
    if shape.len() < 2 || shape[shape.len() - 1] % 2 != 0 {
        return Err(error("heads have two halves"));
    }
    wanted[shape.len() - 2] = 1;
    if cos.size() != wanted || sin.size() != wanted {
        return Err(error("every token has a cosine and a sine for each number of a head"));
    }
    let fits = |y: &Tensor| y.kind() == cos.kind() && y.is_floating_point() && y.device() == x.device();
    if !x.is_floating_point() || !fits(cos) || !fits(sin) {
        return Err(error("kinds or devices differ, or are none that numbers are rotated in"));
    }
    let mut out = ptr::null_mut();
    // SAFETY: the tensors outlive the call, which catches every exception of C++; where it returns null, it has written a
    // tensor that nobody else owns.
    unsafe {
        check(vr1_rotate(x.as_ptr().cast(), cos.as_ptr().cast(), sin.as_ptr().cast(), &mut out))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}
