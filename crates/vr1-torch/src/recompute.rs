use std::any::Any;
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
    ended: unsafe extern "C" fn(*mut c_void, bool) -> *mut c_char,
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
    recomputed_with_end(input, beside, work, |_| {})
}

/// How a backward pass went through what it ran again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// All gradients were made.
    Whole,
    /// It broke off: the work failed, or what came behind it.
    BrokenOff,
}

/// The same, and after each time that a backward pass has run the work again and gone back through it, or has broken off on the way,
/// `ended`: what the work took to run can be given back then, and the gradients of the leaves that it alone multiplies by are there. A panic
/// in it is an error of the backward pass.
///
/// # Errors
/// As [`recomputed`].
pub fn recomputed_with_end<F, G>(input: &Tensor, beside: &[&Tensor], work: F, ended: G) -> Result<Tensor>
where
    F: Fn(&Tensor, &[Tensor]) -> Tensor + Send + 'static,
    G: Fn(Passed) + Send + 'static,
{
    let closure = Box::into_raw(Box::new((work, ended))).cast();
    let work = Work { closure, run: run::<F, G>, ended: end::<F, G>, forget, drop: drop_closure::<(F, G)> };
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
/// `closure` is a live pair of `F` and `G`, `inputs` are `count` live tensors, one or more; no other thread runs the closure meanwhile.
unsafe extern "C" fn run<F: Fn(&Tensor, &[Tensor]) -> Tensor, G>(
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
            (&*closure.cast::<(F, G)>(), inputs.collect::<Vec<Tensor>>())
        };
        (work.0)(&inputs[0], &inputs[1..])
    }));
    match ran {
        Ok(tensor) => {
            // SAFETY: `output` is the caller's; the tensor is given away.
            unsafe { *output = std::mem::ManuallyDrop::new(tensor).as_ptr().cast_mut().cast() };
            ptr::null_mut()
        }
        Err(panic) => told(panic.as_ref()),
    }
}

/// What a panic says, to be freed by [`forget`].
fn told(panic: &(dyn Any + Send)) -> *mut c_char {
    CString::new(said(panic).replace('\0', " ")).unwrap_or_default().into_raw()
}

/// Ends what a backward pass ran again.
///
/// # Safety
/// `closure` is a live pair of `F` and `G`; no other thread runs it meanwhile.
unsafe extern "C" fn end<F, G: Fn(Passed)>(closure: *mut c_void, whole: bool) -> *mut c_char {
    let passed = if whole { Passed::Whole } else { Passed::BrokenOff };
    // SAFETY: the caller's promise.
    let ended = unsafe { &(*closure.cast::<(F, G)>()).1 };
    match caught(AssertUnwindSafe(|| ended(passed))) {
        Ok(()) => ptr::null_mut(),
        Err(panic) => told(panic.as_ref()),
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
