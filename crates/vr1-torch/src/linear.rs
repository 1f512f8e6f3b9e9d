use std::ffi::{c_char, c_void};
use std::ptr;

use tch::Tensor;

use crate::message::check;
use crate::{Result, described, unfit};

unsafe extern "C" {
    fn vr1_linear(x: *const c_void, weight: *const c_void, bias: *const c_void, out: *mut *mut c_void) -> *mut c_char;
}

/// `x Wᵀ + b`, as libtorch computes it, but for a few rows on the CPU.
///
/// Decoding takes a few rows through all of a model's matrices, and is as fast as they can be read. libtorch's products are
/// made for many rows: with 8 they read at half of that speed, in bf16, where the processor has no instructions for it, at
/// less. Where no gradient is collected, 2 to 16 rows of f32, and up to 32 of bf16 on such a processor, go through a kernel of
/// our own, which reads the matrix where it lies, once for eight rows; not through one of less than 65,536 numbers. What the
/// kernel gives for a row does not depend on the rows beside it.
///
/// # Shapes
/// `x` `[…, inputs]`, `weight` `[outputs, inputs]`, `bias` `[outputs]`, of one kind; the result is `[…, outputs]`.
///
/// # Errors
/// If shapes, kinds or devices do not fit together, or libtorch fails.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let x = Tensor::ones([4, 3], (Kind::Float, Device::Cpu));
/// let weight = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([2, 3]);
/// let y = vr1_torch::linear(&x, &weight, Some(&Tensor::from_slice(&[0.5f32, 0.0])))?;
/// assert_eq!(Vec::<f32>::try_from(y.get(3))?, [6.5, 15.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (inputs, outputs) = (x.size().last().copied(), weight.size().first().copied());
    let alike = |y: &Tensor| y.kind() == x.kind() && y.device() == x.device();
    let fits = weight.dim() == 2 && inputs == weight.size().last().copied() && alike(weight);
    if !fits || bias.is_some_and(|bias| bias.size().first().copied() != outputs || bias.dim() != 1 || !alike(bias)) {
        let bias = bias.map_or_else(|| "none".to_owned(), described);
        let (x, weight) = (described(x), described(weight));
        return Err(unfit("linear", format!("weight {weight} and bias {bias} do not fit x {x}")));
    }
    let mut out = ptr::null_mut();
    // SAFETY: the tensors outlive the call, which catches every exception of C++; where it returns null, it has written a
    // tensor that nobody else owns.
    unsafe {
        let bias = bias.map_or(ptr::null(), |bias| bias.as_ptr().cast());
        check(vr1_linear(x.as_ptr().cast(), weight.as_ptr().cast(), bias, &mut out))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}
