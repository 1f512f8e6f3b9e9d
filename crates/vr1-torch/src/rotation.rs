//! `T` tokens, `H` heads, `d` head size.

use std::ffi::{c_char, c_void};
use std::ptr;

use tch::{Device, Kind, Tensor};

use crate::driver::Size;
use crate::kernels::{Kernel, kind_name, pack};
use crate::message::check;
use crate::own::{Own, answer};
use crate::trial::{Pair, trusted, varied};
use crate::{Result, described, unfit};

unsafe extern "C" {
    fn vr1_rotate(
        x: *const c_void,
        cos: *const c_void,
        sin: *const c_void,
        own: Option<Own>,
        out: *mut *mut c_void,
    ) -> *mut c_char;
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
    rotated(x, cos, sin, Some(own))
}

fn rotated(x: &Tensor, cos: &Tensor, sin: &Tensor, own: Option<Own>) -> Result<Tensor> {
    let mut out = ptr::null_mut();
    // SAFETY: the tensors outlive the call, which catches every exception of C++; where it returns null, it has written a
    // tensor that nobody else owns.
    unsafe {
        check(vr1_rotate(x.as_ptr().cast(), cos.as_ptr().cast(), sin.as_ptr().cast(), own, &mut out))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

/// # Safety
/// That of [`answer`]; the tensors are heads, cosines and sines.
unsafe extern "C" fn own(
    inputs: *const *const c_void,
    count: usize,
    turn: f64,
    out: *mut *mut c_void,
    wanted: usize,
) -> bool {
    let made = |inputs: &[Tensor]| {
        let [x, cos, sin] = inputs else { return Ok(None) };
        let (heads, d, turned) = (x.size()[1], x.size()[2], cos.kind());
        let trial = |device, kind| trial([heads, d], turned, device, kind);
        match trusted(Kernel::Rotate, x, &[heads, d, turned as i64], trial)? {
            true => Ok(by_kernel(x, cos, sin, turn)?.map(|out| [out])),
            false => Ok(None),
        }
    };
    // SAFETY: the caller's promise.
    unsafe { answer((inputs, count), (out, wanted), made) }
}

fn trial([heads, d]: [i64; 2], turned: Kind, device: Device, kind: Kind) -> Result<Vec<Pair>> {
    let x = varied(&[5, heads + 2, d], 0.0, device, kind)?.f_narrow(1, 1, heads)?;
    let half = |seed| varied(&[5, 1, d / 2], seed, device, turned);
    let whole = |half: Tensor| Tensor::f_cat(&[&half, &half], -1);
    let (cos, sin) = (whole(half(0.1)?)?, whole(half(0.2)?)?);
    let Some(there) = by_kernel(&x, &cos, &sin, 1.0)? else { return Ok(Vec::new()) };
    let Some(back) = by_kernel(&x, &cos, &sin, -1.0)? else { return Ok(Vec::new()) };
    let operators = |sin: &Tensor| rotated(&x, &cos, sin, None);
    Ok(vec![Pair::rounded(there, operators(&sin)?), Pair::rounded(back, operators(&sin.f_neg()?)?)])
}

/// Heads `[T, H, d]` to the same shape; nothing where the kernel does not take these.
fn by_kernel(x: &Tensor, cos: &Tensor, sin: &Tensor, turn: f64) -> Result<Option<Tensor>> {
    let (size, stride, pack) = (x.size(), x.stride(), pack(x.kind()));
    let (rows, heads, d) = (size[0], size[1], size[2]);
    let in_packs = x.data_ptr().addr().is_multiple_of(16) && stride[..2].iter().all(|stride| stride % pack == 0);
    let whole = in_packs && d % (2 * pack) == 0 && heads <= i64::from(i32::MAX);
    let (Some(kind), Some(turned), Some(gpu)) =
        (kind_name(x.kind()).filter(|_| whole), kind_name(cos.kind()), Kernel::Rotate.gpu(x)?)
    else {
        return Ok(None);
    };
    let (cos, sin) = (cos.f_contiguous()?, sin.f_contiguous()?);
    let out = Tensor::f_empty(&size, (x.kind(), x.device()))?;
    let wider = if kind == turned { kind } else { "f32" };
    let functions =
        Kernel::Rotate.functions(gpu, &[format!("T={kind}"), format!("C={turned}"), format!("W={wider}")])?;
    let units = rows * heads * d / 2 / pack;
    if units > 0 {
        let launch = Size { blocks: [(units + 255) / 256, 1], threads: 256, shared: 0 };
        let arguments = [
            x.into(),
            (&cos).into(),
            (&sin).into(),
            (&out).into(),
            stride[0].into(),
            stride[1].into(),
            (heads as i32).into(),
            (d as i32).into(),
            (turn as f32).into(),
            units.into(),
        ];
        // SAFETY: these are the kernel's arguments: a cosine and a sine for every number of a head of every row, and a result of as many heads.
        unsafe { gpu.launch(functions[0], launch, &arguments)? };
    }
    Ok(Some(out))
}
