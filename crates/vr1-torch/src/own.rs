//! Kernels in nodes of the autograd graph: C++ asks for them here, from whatever thread a pass is on.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::panic::AssertUnwindSafe;

use tch::{Tensor, no_grad};

use crate::Result;
use crate::driver::{Argument, Size};
use crate::guard::{caught, said};
use crate::kernels::{Kernel, in_packs, kind_name, pack};

/// `vr1::Own` of `own.h`.
pub(crate) type Own = unsafe extern "C" fn(*const *const c_void, usize, f64, *mut *mut c_void, usize) -> bool;

/// Answers C++ with what `made` makes of its tensors; what goes wrong is told, and left to libtorch's operators.
///
/// # Safety
/// `inputs` are `count` live tensors, and there is room for `wanted` at `out`.
pub(crate) unsafe fn answer<const N: usize>(
    (inputs, count): (*const *const c_void, usize),
    (out, wanted): (*mut *mut c_void, usize),
    made: impl FnOnce(&[Tensor]) -> Result<Option<[Tensor; N]>>,
) -> bool {
    let ran = caught(AssertUnwindSafe(|| {
        // SAFETY: the caller's promise; the clones are dropped by us, the tensors by their owner.
        let inputs: Vec<Tensor> = unsafe {
            let inputs = std::slice::from_raw_parts(inputs, count);
            inputs.iter().map(|&input| Tensor::clone_from_ptr(input.cast_mut().cast())).collect()
        };
        no_grad(|| made(&inputs))
    }));
    let fault = match ran {
        Ok(Ok(Some(made))) if N == wanted => {
            for (place, tensor) in made.into_iter().enumerate() {
                // SAFETY: the caller's promise; each tensor is given away.
                unsafe { *out.add(place) = ManuallyDrop::new(tensor).as_ptr().cast_mut().cast() };
            }
            return true;
        }
        Ok(Ok(_)) => return false,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => said(panic.as_ref()),
    };
    tracing::warn!("libtorch's operators do the work of a kernel: {fault}");
    false
}

/// What the function number `function` of a kernel makes of as many numbers of each input, an element after the other; nothing where it
/// does not take these.
pub(crate) fn element_wise<const N: usize>(
    kernel: Kernel,
    function: usize,
    inputs: &[Tensor],
) -> Result<Option<[Tensor; N]>> {
    let Some(first) = inputs.first() else { return Ok(None) };
    let (kind, count) = (first.kind(), first.numel() as i64);
    if count % pack(kind) != 0 {
        return Ok(None);
    }
    let inputs = inputs.iter().map(Tensor::f_contiguous).collect::<Result<Vec<_>, _>>()?;
    let alike = |x: &Tensor| in_packs(x) && x.kind() == kind && x.size() == first.size();
    let (Some(name), Some(gpu)) = (kind_name(kind).filter(|_| inputs.iter().all(alike)), kernel.gpu(first)?) else {
        return Ok(None);
    };
    let functions = kernel.functions(gpu, &[format!("T={name}")])?;
    let out: Vec<Tensor> = (0..N).map(|_| inputs[0].f_empty_like()).collect::<Result<_, _>>()?;
    let packs = count / pack(kind);
    if packs > 0 {
        let launch = Size { blocks: [(packs + 255) / 256, 1], threads: 256, shared: 0 };
        let mut arguments: Vec<Argument> = inputs.iter().chain(&out).map(Argument::from).collect();
        arguments.push(packs.into());
        // SAFETY: the kernel goes no further than `packs` in each of these.
        unsafe { gpu.launch(functions[function], launch, &arguments)? };
    }
    Ok(out.try_into().ok())
}
