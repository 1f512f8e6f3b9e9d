//! `D` hidden.

use tch::{Device, Kind, Tensor, no_grad};

use crate::driver::{Gpu, Size};
use crate::kernels::{Kernel, in_packs, kind_name, pack};
use crate::trial::{Pair, trusted, varied};
use crate::{Result, described, unfit};

/// `residual += addend`, and the root-mean-square norm of the sum: what stands between two parts of a decoder layer.
///
/// `x = residual + addend`, rounded to its kind and left in `residual`; `out = x / √(mean(x²) + ε) · weight` (Zhang &
/// Sennrich, [arXiv:1910.07467](https://arxiv.org/abs/1910.07467)), computed in f32 (f64 for f64). There is no gradient.
///
/// # Shapes
/// `residual` and `addend` `[…, D]`, `weight` `[D]`, of one kind; the result is `[…, D]`.
///
/// # Errors
/// If shapes, kinds or devices do not fit together, or the device fails.
///
/// # Example
/// ```
/// use tch::Tensor;
/// use vr1_torch::add_rms_norm;
///
/// let residual = Tensor::from_slice(&[1.0f32, 0.0]);
/// let out = add_rms_norm(&residual, &Tensor::from_slice(&[2.0f32, 4.0]), &Tensor::from_slice(&[1.0f32, 10.0]), 0.0)?;
/// assert_eq!(Vec::<f32>::try_from(&residual)?, [3.0, 4.0]);
/// // √((9 + 16) / 2) is 3.5355.
/// let out = Vec::<f32>::try_from(&out)?;
/// assert!((out[0] - 0.8485).abs() < 1e-4 && (out[1] - 11.3137).abs() < 1e-4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn add_rms_norm(residual: &Tensor, addend: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let size = residual.size();
    let alike = |x: &Tensor| x.kind() == residual.kind() && x.device() == residual.device();
    let whole = size.last().is_some_and(|&hidden| hidden > 0 && weight.size() == [hidden]);
    if !whole || addend.size() != size || !alike(addend) || !alike(weight) || !residual.is_floating_point() {
        let [residual, addend, weight] = [residual, addend, weight].map(described);
        return Err(unfit(
            "add_rms_norm",
            format!("{residual} and {addend} are not to be added and normed by {weight}"),
        ));
    }
    let hidden = weight.size()[0];
    let made = trusted(Kernel::AddRmsNorm, residual, &[hidden], |device, kind| trial(hidden, device, kind))?;
    let by_kernel = || if made { by_kernel(residual, addend, weight, epsilon) } else { Ok(None) };
    no_grad(|| match by_kernel()? {
        Some(out) => Ok(out),
        None => plain(residual, addend, weight, epsilon),
    })
}

fn trial(hidden: i64, device: Device, kind: Kind) -> Result<Vec<Pair>> {
    let (x, y) = (varied(&[3, hidden], 0.0, device, kind)?, varied(&[3, hidden], 0.1, device, kind)?);
    let weight = varied(&[hidden], 0.2, device, kind)?;
    let (first, second) = (x.copy(), x);
    let Some(kernel) = by_kernel(&first, &y, &weight, 1e-6)? else { return Ok(Vec::new()) };
    let operators = plain(&second, &y, &weight, 1e-6)?;
    Ok(vec![Pair::rounded(kernel, operators), Pair::rounded(first, second)])
}

/// Nothing where the kernel does not take these.
fn by_kernel(residual: &Tensor, addend: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Option<Tensor>> {
    let (hidden, pack) = (weight.size()[0], pack(residual.kind()));
    let whole = hidden % pack == 0 && hidden / pack <= 4096 && [residual, addend, weight].into_iter().all(in_packs);
    let (Some(kind), Some(gpu)) = (kind_name(residual.kind()).filter(|_| whole), Kernel::AddRmsNorm.gpu(residual)?)
    else {
        return Ok(None);
    };
    launch(gpu, kind, residual, addend, weight, epsilon).map(Some)
}

fn launch(
    gpu: &'static Gpu,
    kind: &str,
    residual: &Tensor,
    addend: &Tensor,
    weight: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    let out = residual.f_empty_like()?;
    let (hidden, packs) = (weight.size()[0], weight.size()[0] / pack(weight.kind()));
    let rows = residual.numel() as i64 / hidden;
    let per = (packs + 511) / 512;
    let threads = ((packs + per - 1) / per + 31) / 32 * 32;
    let functions = Kernel::AddRmsNorm.functions(gpu, &[format!("T={kind}"), format!("PER={per}")])?;
    if rows > 0 {
        let size = Size { blocks: [rows, 1], threads, shared: 0 };
        let arguments = [
            residual.into(),
            addend.into(),
            weight.into(),
            (&out).into(),
            (hidden as i32).into(),
            (epsilon as f32).into(),
        ];
        // SAFETY: these are the kernel's arguments; a row has `hidden` numbers, and `threads · per` packs are all of it.
        unsafe { gpu.launch(functions[0], size, &arguments)? };
    }
    Ok(out)
}

fn plain(residual: &Tensor, addend: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let mut sum = residual.shallow_clone();
    let _ = sum.f_add_(addend)?;
    if matches!(sum.kind(), Kind::Float | Kind::Double) || sum.device().is_cuda() {
        return Ok(sum.f_rms_norm(weight.size(), Some(weight), epsilon)?);
    }
    // The CPU's own would round its mean to the kind.
    let wide = sum.f_to_kind(Kind::Float)?;
    let scale = (wide.f_square()?.f_mean_dim(-1, true, Kind::Float)? + epsilon).f_rsqrt()?;
    Ok((wide * scale).f_to_kind(sum.kind())?.f_mul(weight)?)
}
