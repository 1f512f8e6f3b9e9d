use std::ffi::{CString, c_char, c_void};
use std::panic::AssertUnwindSafe;
use std::ptr;

use tch::Tensor;

use crate::Result;
use crate::guard::{caught, said};
use crate::message::check;

/// `vr1_work` of `recompute.cpp`.
#[repr(C)]
struct Work {
    closure: *mut c_void,
    run: unsafe extern "C" fn(*mut c_void, *const *const c_void, usize, *mut *mut c_void) -> *mut c_char,
    forget: unsafe extern "C" fn(*mut c_char),
    drop: unsafe extern "C" fn(*mut c_void),
}

unsafe extern "C" {
    fn vr1_recomputed(
        inputs: *const *const c_void,
        count: usize,
        work: *const Work,
        out: *mut *mut c_void,
    ) -> *mut c_char;
}

/// `work(input)`, of which nothing but the input is kept for the backward pass, which computes it again (Chen et al.,
/// [arXiv:1604.06174](https://arxiv.org/abs/1604.06174)).
///
/// Gradients are those of `work(input)`: the input's, and those of whatever else `work` multiplies by, which collects its own as
/// a leaf. Random operations draw in the backward pass what they drew in the first. Where gradients are not collected, or neither
/// the input nor anything in `work` collects any, this is `work(input)` and no more. `work` may run on another thread, after this
/// returns; a panic in it is an error of this function, or of the backward pass. There is no second derivative.
///
/// # Errors
/// If `work` panics, or libtorch refuses.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let weight = Tensor::from(3.0f32).set_requires_grad(true);
/// let held = weight.shallow_clone();
/// let x = Tensor::from(2.0f32).set_requires_grad(true);
/// vr1_torch::recomputed(&x, move |x| (x * &held).exp())?.backward();
/// assert!((x.grad().double_value(&[]) / (3.0 * 6f64.exp()) - 1.0).abs() < 1e-6);
/// assert!((weight.grad().double_value(&[]) / (2.0 * 6f64.exp()) - 1.0).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn recomputed<F: Fn(&Tensor) -> Tensor + Send + 'static>(input: &Tensor, work: F) -> Result<Tensor> {
    recomputed_with(input, &[], move |input, _| work(input))
}

/// `work(input, beside)`, as [`recomputed`] has it: what lies `beside` the input, made by others before, is kept too and gets its
/// gradients.
///
/// # Errors
/// As [`recomputed`].
pub fn recomputed_with<F>(input: &Tensor, beside: &[&Tensor], work: F) -> Result<Tensor>
where
    F: Fn(&Tensor, &[Tensor]) -> Tensor + Send + 'static,
{
    let closure = Box::into_raw(Box::new(work)).cast();
    let work = Work { closure, run: run::<F>, forget, drop: drop_closure::<F> };
    let inputs = std::iter::once(&input).chain(beside);
    let inputs: Vec<*const c_void> = inputs.map(|input| input.as_ptr().cast()).collect();
    let mut out = ptr::null_mut();
    // SAFETY: the inputs outlive the call; the closure is given away, to be run by one thread at a time on as many tensors and dropped
    // once; the call catches every exception of C++, and where it returns null, it has written a tensor that nobody else owns.
    unsafe {
        check(vr1_recomputed(inputs.as_ptr(), inputs.len(), &work, &mut out))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

/// Runs a closure on tensors that the caller keeps.
///
/// # Safety
/// `closure` is a live `F`, `inputs` are `count` live tensors, one or more; no other thread runs the closure meanwhile.
unsafe extern "C" fn run<F: Fn(&Tensor, &[Tensor]) -> Tensor>(
    closure: *mut c_void,
    inputs: *const *const c_void,
    count: usize,
    output: *mut *mut c_void,
) -> *mut c_char {
    let ran = caught(AssertUnwindSafe(|| {
        // SAFETY: the caller's promise; the clones are dropped by us, the tensors by their owner.
        let (work, inputs) = unsafe {
            let inputs = std::slice::from_raw_parts(inputs, count);
            let inputs = inputs.iter().map(|&input| Tensor::clone_from_ptr(input.cast_mut().cast()));
            (&*closure.cast::<F>(), inputs.collect::<Vec<Tensor>>())
        };
        work(&inputs[0], &inputs[1..])
    }));
    match ran {
        Ok(tensor) => {
            // SAFETY: `output` is the caller's; the tensor is given away.
            unsafe { *output = std::mem::ManuallyDrop::new(tensor).as_ptr().cast_mut().cast() };
            ptr::null_mut()
        }
        Err(panic) => CString::new(said(panic.as_ref()).replace('\0', " ")).unwrap_or_default().into_raw(),
    }
}

/// # Safety
/// `message` came from [`run`] and is freed once.
unsafe extern "C" fn forget(message: *mut c_char) {
    // SAFETY: the caller's promise.
    drop(unsafe { CString::from_raw(message) });
}

/// # Safety
/// `closure` is an `F` that nobody uses after this.
unsafe extern "C" fn drop_closure<F>(closure: *mut c_void) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(closure.cast::<F>()) });
}
