//! `B` rows.

use tch::{Device, Kind, Tensor, no_grad};

use crate::driver::Size;
use crate::kernels::Kernel;
use crate::trial::{Pair, trusted};
use crate::{Result, described, unfit};

/// The numbers in `[0, 1)` by which tokens are drawn, computed where the rows are.
///
/// A row's state stands for all that its randomness hangs on but the position; the number is what SplitMix64 (Steele et al.,
/// OOPSLA 2014) makes of both: `mix(mix(state) ^ position) >> 11`, in units of 2⁻⁵³. The bits of a state are those of a `u64`.
///
/// # Shapes
/// `states` `[B]`, `positions` `[B]` or `[1]`, i64 both; the result is `[B]`, f64.
///
/// # Errors
/// If shapes, kinds or devices are others, or the device fails.
///
/// # Example
/// ```
/// use tch::Tensor;
/// // The first two numbers of SplitMix64 mix 0 and its increment, whose state is its own first.
/// let u = vr1_torch::uniforms(&Tensor::from_slice(&[0i64, 0]), &Tensor::from_slice(&[0i64, 5]))?;
/// let u = Vec::<f64>::try_from(u)?;
/// assert!(u.iter().all(|u| (0.0..1.0).contains(u)) && u[0] != u[1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn uniforms(states: &Tensor, positions: &Tensor) -> Result<Tensor> {
    check("uniforms", states, positions)?;
    let made = trusted(Kernel::Uniforms, states, &[], |device, _| trial(device))?;
    let by_kernel = || if made { by_kernel(states, positions) } else { Ok(None) };
    no_grad(|| match by_kernel()? {
        Some(numbers) => Ok(numbers),
        None => plain(states, positions),
    })
}

fn trial(device: Device) -> Result<Vec<Pair>> {
    let states = Tensor::f_arange(300, (Kind::Int64, device))?.f_mul_scalar(0x2545_f491_4f6c_dd1d_i64)?;
    let positions = Tensor::f_arange(300, (Kind::Int64, device))?;
    let Some(kernel) = by_kernel(&states, &positions)? else { return Ok(Vec::new()) };
    Ok(vec![Pair { kernel, operators: plain(&states, &positions)?, tolerance: 0.0 }])
}

/// Nothing where the kernel does not take these.
fn by_kernel(states: &Tensor, positions: &Tensor) -> Result<Option<Tensor>> {
    let Some(gpu) = Kernel::Uniforms.gpu(states)? else { return Ok(None) };
    let (states, positions) = (states.f_contiguous()?, positions.f_contiguous()?);
    let rows = states.size()[0];
    let numbers = Tensor::f_empty([rows], (Kind::Double, states.device()))?;
    let functions = Kernel::Uniforms.functions(gpu, &[])?;
    if rows > 0 {
        let size = Size { blocks: [(rows + 127) / 128, 1], threads: 128, shared: 0 };
        let step = step(&positions);
        let arguments = [(&states).into(), (&positions).into(), step.into(), (&numbers).into(), (rows as i32).into()];
        // SAFETY: these are the kernel's arguments, of `rows` numbers each, or one position.
        unsafe { gpu.launch(functions[0], size, &arguments)? };
    }
    Ok(Some(numbers))
}

/// From a row's position to the next one's.
pub(crate) fn step(positions: &Tensor) -> i32 {
    i32::from(positions.size()[0] > 1)
}

/// That states and positions are some.
pub(crate) fn check(function: &'static str, states: &Tensor, positions: &Tensor) -> Result<()> {
    let integers = states.kind() == Kind::Int64 && positions.kind() == Kind::Int64;
    let fits = states.dim() == 1 && (positions.size() == states.size() || positions.size() == [1]);
    if !integers || !fits || states.device() != positions.device() {
        let (states, positions) = (described(states), described(positions));
        return Err(unfit(
            function,
            format!("states {states} and positions {positions} are not Int64 [B] and [B] or [1]"),
        ));
    }
    Ok(())
}

pub(crate) fn plain(states: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let bits = shifted(&mix(&mix(states)?.f_bitwise_xor_tensor(positions)?)?, 11)?;
    Ok(bits.f_to_kind(Kind::Double)?.f_div_scalar((1u64 << 53) as f64)?)
}

fn mix(x: &Tensor) -> Result<Tensor> {
    let x = x.f_add_scalar(0x9e37_79b9_7f4a_7c15_u64 as i64)?;
    let x = x.f_bitwise_xor_tensor(&shifted(&x, 30)?)?.f_mul_scalar(0xbf58_476d_1ce4_e5b9_u64 as i64)?;
    let x = x.f_bitwise_xor_tensor(&shifted(&x, 27)?)?.f_mul_scalar(0x94d0_49bb_1331_11eb_u64 as i64)?;
    Ok(x.f_bitwise_xor_tensor(&shifted(&x, 31)?)?)
}

/// Shifted to the right as a `u64` is, without its sign.
fn shifted(x: &Tensor, bits: i64) -> Result<Tensor> {
    Ok(x.f_bitwise_right_shift_tensor_scalar(bits)?.f_bitwise_and(i64::MAX >> (bits - 1))?)
}
