//! The Rust side of `chunked_logprobs.cpp`, the one place of this crate with `unsafe`: tch has no way to say what the backward of an
//! operation is, and only that keeps the memory of the backward within a chunk.
#![allow(unsafe_code, reason = "calls the C++ shim of this crate")]

use std::ffi::{CStr, c_char};
use std::ptr;

use tch::{TchError, Tensor};

// From torch-sys, whose library the shim is linked with.
use torch_sys::C_tensor;

unsafe extern "C" {
    fn vr1_ops_chunked_logprobs(
        hidden: *const C_tensor,
        matrix: *const C_tensor,
        targets: *const C_tensor,
        temperature: f64,
        chunk: i64,
        logprobs: *mut *mut C_tensor,
        entropies: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn vr1_ops_free(message: *mut c_char);
}

/// Log-probabilities and entropies, `[N]` each; the arguments have been checked.
pub(crate) fn chunked(
    hidden: &Tensor,
    matrix: &Tensor,
    targets: &Tensor,
    temperature: f64,
    chunk: i64,
) -> Result<(Tensor, Tensor), TchError> {
    let (mut logprobs, mut entropies) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the three tensors outlive the call, which catches every exception of C++; where it returns null, it has
    // written two tensors that nobody else owns, and where it does not, a string of malloc that nobody else frees.
    unsafe {
        let message = vr1_ops_chunked_logprobs(
            hidden.as_ptr(),
            matrix.as_ptr(),
            targets.as_ptr(),
            temperature,
            chunk,
            &mut logprobs,
            &mut entropies,
        );
        if !message.is_null() {
            let text = CStr::from_ptr(message).to_string_lossy().into_owned();
            vr1_ops_free(message);
            return Err(TchError::Torch(text));
        }
        Ok((Tensor::from_ptr(logprobs), Tensor::from_ptr(entropies)))
    }
}
