//! `F` the width of a feed-forward layer.

use tch::{Device, Kind, Tensor, no_grad};

use crate::driver::Size;
use crate::kernels::{Kernel, in_packs, kind_name, pack};
use crate::trial::{Pair, trusted, varied};
use crate::{Result, described, unfit};

/// What the gate of a feed-forward layer goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Gate {
    /// `x · σ(x)`.
    Silu = 0,
    /// `x · Φ(x)` (Hendrycks & Gimpel, [arXiv:1606.08415](https://arxiv.org/abs/1606.08415)).
    Gelu = 1,
    /// Its approximation `x · (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`.
    GeluTanh = 2,
    /// Its approximation `x · σ(1.702 x)`.
    QuickGelu = 3,
}

/// The gated product of a feed-forward layer (Shazeer, [arXiv:2002.05202](https://arxiv.org/abs/2002.05202)):
/// `gate(x[.., ..F]) · x[.., F..]`, of one product that gives both halves. There is no gradient.
///
/// # Shapes
/// `[…, 2F]` to `[…, F]`.
///
/// # Errors
/// If the last dimension cannot be halved, or the device fails.
///
/// # Example
/// ```
/// use tch::Tensor;
/// use vr1_torch::{Gate, gated};
///
/// let out = gated(&Tensor::from_slice(&[0.0f32, 20.0, 3.0, 4.0]), Gate::Silu)?;
/// assert_eq!(Vec::<f32>::try_from(out)?, [0.0, 80.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn gated(x: &Tensor, gate: Gate) -> Result<Tensor> {
    let halves = x.size().last().is_some_and(|&width| width > 0 && width % 2 == 0);
    if !halves || !x.is_floating_point() {
        return Err(unfit("gated", format!("{} has no gate and no other half", described(x))));
    }
    let made = trusted(Kernel::Gated, x, &[gate as i64], |device, kind| trial(gate, device, kind))?;
    let by_kernel = || if made { by_kernel(x, gate) } else { Ok(None) };
    no_grad(|| match by_kernel()? {
        Some(out) => Ok(out),
        None => plain(x, gate),
    })
}

fn trial(gate: Gate, device: Device, kind: Kind) -> Result<Vec<Pair>> {
    let x = varied(&[3, 1040], 0.0, device, kind)?.f_mul_scalar(6.0)?;
    let Some(kernel) = by_kernel(&x, gate)? else { return Ok(Vec::new()) };
    Ok(vec![Pair::rounded(kernel, plain(&x, gate)?)])
}

/// Nothing where the kernel does not take this.
fn by_kernel(x: &Tensor, gate: Gate) -> Result<Option<Tensor>> {
    let mut size = x.size();
    let width = size.last().map_or(0, |width| width / 2);
    let whole = width % pack(x.kind()) == 0 && width <= i64::from(i32::MAX) && in_packs(x);
    let (Some(kind), Some(gpu)) = (kind_name(x.kind()).filter(|_| whole), Kernel::Gated.gpu(x)?) else {
        return Ok(None);
    };
    if let Some(last) = size.last_mut() {
        *last = width;
    }
    let out = Tensor::f_empty(size, (x.kind(), x.device()))?;
    let packs = out.numel() as i64 / pack(x.kind());
    let functions = Kernel::Gated.functions(gpu, &[format!("T={kind}"), format!("GATE={}", gate as i32)])?;
    if packs > 0 {
        let launch = Size { blocks: [(packs + 255) / 256, 1], threads: 256, shared: 0 };
        // SAFETY: these are the kernel's arguments; it goes no further than `packs` in the result, and twice that in `x`.
        unsafe { gpu.launch(functions[0], launch, &[x.into(), (&out).into(), (width as i32).into(), packs.into()])? };
    }
    Ok(Some(out))
}

fn plain(x: &Tensor, gate: Gate) -> Result<Tensor> {
    let halves = x.f_chunk(2, -1)?;
    let opened = match gate {
        Gate::Silu => halves[0].f_silu()?,
        Gate::Gelu => halves[0].f_gelu("none")?,
        Gate::GeluTanh => halves[0].f_gelu("tanh")?,
        Gate::QuickGelu => halves[0].f_mul(&halves[0].f_mul_scalar(1.702)?.f_sigmoid()?)?,
    };
    Ok(opened.f_mul(&halves[1])?)
}
