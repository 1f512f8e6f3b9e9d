use std::ffi::c_char;
use std::ptr;

use tch::Tensor;

use crate::message::check;
use crate::{Error, Result};

type Pointers = *const *const u8;

unsafe extern "C" {
    fn vr1_foreach_norm(count: usize, tensors: Pointers, norms: *mut *mut u8) -> *mut c_char;
    fn vr1_foreach_scale(count: usize, tensors: Pointers, factor: f64) -> *mut c_char;
    fn vr1_foreach_shift(count: usize, tensors: Pointers, addend: f64) -> *mut c_char;
    fn vr1_foreach_copy(count: usize, to: Pointers, from: Pointers) -> *mut c_char;
}

fn pointers(tensors: &[Tensor]) -> Vec<*const u8> {
    tensors.iter().map(|tensor| tensor.as_ptr().cast()).collect()
}

/// The Euclidean norm of each tensor, a scalar in f32 each, in few launches on a GPU.
///
/// # Errors
/// If libtorch refuses the tensors.
pub fn foreach_norm(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    if tensors.is_empty() {
        return Ok(Vec::new()); // libtorch finds no kernel for an empty list
    }
    let mut norms = vec![ptr::null_mut(); tensors.len()];
    // SAFETY: every pointer is a live tensor's; the shim catches every exception of C++, and where it returns null, it has written as
    // many tensors as were handed in, which nobody else owns.
    unsafe {
        check(vr1_foreach_norm(tensors.len(), pointers(tensors).as_ptr(), norms.as_mut_ptr()))?;
        Ok(norms.into_iter().map(|norm| Tensor::from_ptr(norm.cast())).collect())
    }
}

/// Multiplies every tensor by `factor`, in place.
///
/// # Errors
/// If libtorch refuses the tensors.
pub fn foreach_scale(tensors: &[Tensor], factor: f64) -> Result<()> {
    if tensors.is_empty() {
        return Ok(());
    }
    // SAFETY: as above; nothing is written but the tensors' numbers.
    check(unsafe { vr1_foreach_scale(tensors.len(), pointers(tensors).as_ptr(), factor) })
}

/// Adds `addend` to every number of every tensor, in place.
///
/// # Errors
/// If libtorch refuses the tensors.
pub fn foreach_shift(tensors: &[Tensor], addend: f64) -> Result<()> {
    if tensors.is_empty() {
        return Ok(());
    }
    // SAFETY: as above.
    check(unsafe { vr1_foreach_shift(tensors.len(), pointers(tensors).as_ptr(), addend) })
}

/// Copies each tensor of `from` into that of `to`, rounded to its kind.
///
/// # Errors
/// If the lists differ in length, or libtorch refuses the tensors.
pub fn foreach_copy(to: &[Tensor], from: &[Tensor]) -> Result<()> {
    if to.len() != from.len() {
        return Err(Error::Count { what: "sources", expected: to.len(), found: from.len() });
    }
    if to.is_empty() {
        return Ok(());
    }
    // SAFETY: as above; both lists are of one length.
    check(unsafe { vr1_foreach_copy(to.len(), pointers(to).as_ptr(), pointers(from).as_ptr()) })
}
