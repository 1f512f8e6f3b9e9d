//! The Rust side of `chunked_logprobs.cpp`, the one place of this crate with `unsafe`: tch has no way to say what the backward of an
//! operation is, and only that keeps the memory of the backward within a chunk.
#![allow(unsafe_code, reason = "calls the C++ shim of this crate")]

use std::ffi::{CStr, c_char};
use std::ptr;

use tch::{TchError, Tensor};

// From torch-sys, whose library the shim is linked with.
use torch_sys::C_tensor;

use crate::head::{Head, HeadOutput, VocabularyMean};

unsafe extern "C" {
    fn vr1_ops_chunked_logprobs(
        hidden: *const C_tensor,
        matrix: *const C_tensor,
        targets: *const C_tensor,
        unreachable: *const C_tensor,
        temperature: f64,
        chunk: i64,
        with_means: bool,
        outputs: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn vr1_ops_free(message: *mut c_char);
}

/// What the head says of every token. The arguments have been checked: tensors of one kind and device, ids in i64, and in place of
/// `head.unreachable` the ids that it names, each of them once and none of them a target.
pub(crate) fn chunked(
    hidden: &Tensor,
    targets: &Tensor,
    unreachable: &Tensor,
    head: &Head<'_>,
) -> Result<HeadOutput, TchError> {
    let with_means = head.vocabulary_mean == VocabularyMean::Taken;
    let mut outputs = [ptr::null_mut(); 4];
    // SAFETY: the four tensors outlive the call, which catches every exception of C++; where it returns null, it has written three
    // tensors, or four with the means, that nobody else owns, and where it does not, a string of malloc that nobody else frees.
    unsafe {
        let message = vr1_ops_chunked_logprobs(
            hidden.as_ptr(),
            head.matrix.as_ptr(),
            targets.as_ptr(),
            unreachable.as_ptr(),
            head.temperature,
            head.chunk,
            with_means,
            outputs.as_mut_ptr(),
        );
        if !message.is_null() {
            let text = CStr::from_ptr(message).to_string_lossy().into_owned();
            vr1_ops_free(message);
            return Err(TchError::Torch(text));
        }
        let [logprobs, entropy, likeliest, means] = outputs;
        Ok(HeadOutput {
            logprobs: Tensor::from_ptr(logprobs),
            entropy: Tensor::from_ptr(entropy),
            likeliest: Tensor::from_ptr(likeliest),
            mean_logprobs: with_means.then(|| Tensor::from_ptr(means)),
        })
    }
}
