use std::ffi::c_char;

use tch::Tensor;

use crate::message::check;
use crate::{Error, Result};

/// The hyper-parameters of one AdamW step (Loshchilov & Hutter, [arXiv:1711.05101](https://arxiv.org/abs/1711.05101)).
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct AdamWStep {
    /// Step size η.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay λ: parameters shrink by `η·λ` of themselves.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

unsafe extern "C" {
    fn vr1_fused_adamw(
        count: usize,
        parameters: *const *const u8,
        gradients: *const *const u8,
        exp_avgs: *const *const u8,
        exp_avg_sqs: *const *const u8,
        steps: *const *const u8,
        hyper: *const AdamWStep,
    ) -> *mut c_char;
}

/// One AdamW step over all parameters in a single kernel, in place.
///
/// `m ← β₁m + (1−β₁)g`, `v ← β₂v + (1−β₂)g²`, `p ← p − η·λ·p − η·m̂ / (√v̂ + ε)` with the bias-corrected moments of
/// step `t`, which is what `steps[i]` holds, a float scalar: 1 at the first step.
///
/// # Shapes
/// `gradients[i]`, `exp_avgs[i]` and `exp_avg_sqs[i]` have the shape and kind of `parameters[i]`; all tensors are on one
/// device.
///
/// # Errors
/// If the lists differ in length, or libtorch refuses the tensors.
pub fn fused_adamw(
    parameters: &[Tensor],
    gradients: &[Tensor],
    exp_avgs: &[Tensor],
    exp_avg_sqs: &[Tensor],
    steps: &[Tensor],
    hyper: &AdamWStep,
) -> Result<()> {
    let expected = parameters.len();
    for (what, list) in
        [("gradients", gradients), ("first moments", exp_avgs), ("second moments", exp_avg_sqs), ("steps", steps)]
    {
        if list.len() != expected {
            return Err(Error::Count { what, expected, found: list.len() });
        }
    }
    if parameters.is_empty() {
        return Ok(()); // libtorch finds no kernel for an empty list
    }
    let pointers = |list: &[Tensor]| list.iter().map(|t| t.as_ptr().cast::<u8>()).collect::<Vec<_>>();
    let (p, g, m, v, s) =
        (pointers(parameters), pointers(gradients), pointers(exp_avgs), pointers(exp_avg_sqs), pointers(steps));
    // SAFETY: every pointer comes from a live `Tensor`, whose C handle is a `at::Tensor*`; the five arrays hold
    // `expected` pointers each; the shim catches every C++ exception and keeps none of the pointers.
    check(unsafe { vr1_fused_adamw(expected, p.as_ptr(), g.as_ptr(), m.as_ptr(), v.as_ptr(), s.as_ptr(), hyper) })
}
