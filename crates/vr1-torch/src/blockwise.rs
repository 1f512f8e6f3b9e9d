//! `n` blocks of 256 numbers.

use std::ffi::{c_char, c_void};

use tch::{Device, Kind, Tensor};

use crate::message::check;
use crate::{AdamWStep, Result, described, unfit};

/// Moments of [`blockwise_adamw`]: 256 numbers share a scale, and each is the value that its code stands for times that.
#[derive(Debug, Clone, Copy)]
pub struct Blockwise<'a> {
    /// `[n, 256]`, bytes.
    pub codes: &'a Tensor,
    /// `[n]`, f32.
    pub scales: &'a Tensor,
    /// The values in rising order, 0 among them and at most 1 in size, `[256]`, f32; neighbours differ by the 128th part of themselves or
    /// more.
    pub values: &'a Tensor,
    /// The middles between them, `[255]`, f32.
    pub middles: &'a Tensor,
}

#[repr(C)]
struct CBlockwise([*const c_void; 4]);

unsafe extern "C" {
    fn vr1_blockwise_adamw(
        parameter: *const c_void,
        gradient: *const c_void,
        mean: *const CBlockwise,
        square: *const CBlockwise,
        scale: f64,
        step: f64,
        hyper: *const AdamWStep,
    ) -> *mut c_char;
}

/// One step of [`fused_adamw`](crate::fused_adamw) on the CPU with moments in 8 bits, in one pass over memory: block by block the moments
/// are widened, the step is taken, and they are narrowed to the nearest values again. The gradient counts `scale` times; `step` is 1 at
/// the first step.
///
/// # Shapes
/// `parameter` and `gradient` are f32, contiguous and of one shape with `N` numbers; there are `⌈N / 256⌉` blocks.
///
/// # Errors
/// If they are not, or what the moments are made of does not fit.
pub fn blockwise_adamw(
    parameter: &Tensor,
    (gradient, scale): (&Tensor, f64),
    exp_avg: &Blockwise<'_>,
    exp_avg_sq: &Blockwise<'_>,
    step: f64,
    hyper: &AdamWStep,
) -> Result<()> {
    const NAME: &str = "blockwise_adamw";
    let here = |x: &Tensor, kind| x.device() == Device::Cpu && x.kind() == kind && x.is_contiguous();
    let both = [parameter, gradient].iter().all(|x| here(x, Kind::Float));
    if !both || parameter.size() != gradient.size() {
        return Err(unfit(NAME, format!("{} has no gradient {}", described(parameter), described(gradient))));
    }
    let blocks = (parameter.numel() as i64 + 255) / 256;
    for held in [exp_avg, exp_avg_sq] {
        let parts = [(held.scales, blocks), (held.values, 256), (held.middles, 255)];
        let fits = parts.iter().all(|(x, count)| here(x, Kind::Float) && x.size() == [*count]);
        if !fits || !here(held.codes, Kind::Uint8) || held.codes.size() != [blocks, 256] {
            let parts = [held.codes, held.scales, held.values, held.middles].map(described).join(", ");
            return Err(unfit(NAME, format!("moments of {blocks} blocks cannot be made of {parts}")));
        }
    }
    let raw = |held: &Blockwise<'_>| {
        CBlockwise([held.codes, held.scales, held.values, held.middles].map(|x| x.as_ptr().cast()))
    };
    let (mean, square) = (raw(exp_avg), raw(exp_avg_sq));
    // SAFETY: all tensors outlive the call, and are of the kinds and sizes that the shim goes by; it catches every exception of C++.
    check(unsafe {
        vr1_blockwise_adamw(parameter.as_ptr().cast(), gradient.as_ptr().cast(), &mean, &square, scale, step, hyper)
    })
}
