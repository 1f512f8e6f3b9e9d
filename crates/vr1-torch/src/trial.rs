//! A kernel is tried on the GPU at hand, beside libtorch's operators, before it is trusted with anything: no card is like all others, and
//! a result that is wrong is worse than one that is late.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor, no_grad};

use crate::Result;
use crate::kernels::Kernel;

/// What a kernel and what the operators made of the same numbers, and how far these may be from each other, as a part of the largest.
pub(crate) struct Pair {
    pub(crate) kernel: Tensor,
    pub(crate) operators: Tensor,
    pub(crate) tolerance: f64,
}

impl Pair {
    /// Results that are rounded to a kind once or a few times.
    pub(crate) fn rounded(kernel: Tensor, operators: Tensor) -> Self {
        let rounding = match operators.kind() {
            Kind::BFloat16 => 1.0 / 256.0,
            Kind::Half => 1.0 / 2048.0,
            _ => 1.0 / f64::from(1 << 20),
        };
        Self { kernel, operators, tolerance: 8.0 * rounding }
    }

    fn apart(&self) -> Result<Option<String>> {
        let [kernel, operators] = [&self.kernel, &self.operators].map(|x| x.f_to_kind(Kind::Double));
        let (kernel, operators) = (kernel?, operators?);
        let off = kernel.f_sub(&operators)?.f_abs()?.f_max()?.f_double_value(&[])?;
        let bound = self.tolerance * operators.f_abs()?.f_max()?.f_double_value(&[])?;
        // What is not a number is not within the bound.
        Ok((off.is_nan() || off > bound).then(|| format!("it is off by {off:.2e}, where {bound:.2e} is rounding")))
    }
}

/// Whether `kernel` is to do what `x`, of this kind and these sizes, is for: whether it is in use, and what it made of `trial` when these
/// were first seen on this GPU was what the operators made of it. What fails then is told, once, and left to the operators.
///
/// # Errors
/// If `VR1_KERNELS` names what is none, or CUDA's driver is not there.
pub(crate) fn trusted(
    kernel: Kernel,
    x: &Tensor,
    sizes: &[i64],
    trial: impl FnOnce(Device, Kind) -> Result<Vec<Pair>>,
) -> Result<bool> {
    static TRIED: Tried = Mutex::new(BTreeMap::new());
    let (Some(_), Device::Cuda(index)) = (kernel.gpu(x)?, x.device()) else { return Ok(false) };
    let trial = || {
        let fault = no_grad(|| fault(x.device(), x.kind(), trial)).unwrap_or_else(|error| Some(error.to_string()));
        if let Some(fault) = &fault {
            let (name, kind, device) = (kernel.name(), x.kind(), x.device());
            let fault = format!("{name} for {kind:?} {sizes:?} on {device:?}: {fault}");
            tracing::warn!("libtorch's operators do the work of the kernel {fault}");
            FAULTS.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
        }
        fault.is_none()
    };
    Ok(known(&TRIED, (kernel.name(), index, x.kind() as i32, sizes.to_vec()), trial))
}

/// What was found of a kernel, by its name, a GPU, a kind and sizes.
type Tried = Mutex<BTreeMap<(&'static str, usize, i32, Vec<i64>), bool>>;

/// What `tried` says of `key`, else what `trial` finds. Nobody waits for a trial, which may ask of other kernels: who asks meanwhile
/// makes one too.
fn known(tried: &Tried, key: (&'static str, usize, i32, Vec<i64>), trial: impl FnOnce() -> bool) -> bool {
    let found = |key| tried.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied();
    if let Some(trusted) = found(&key) {
        return trusted;
    }
    let trusted = trial();
    *tried.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(trusted)
}

static FAULTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What was wrong with kernels that were tried in this process, and whose work libtorch's operators do.
pub fn kernel_faults() -> Vec<String> {
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn fault(device: Device, kind: Kind, trial: impl FnOnce(Device, Kind) -> Result<Vec<Pair>>) -> Result<Option<String>> {
    for pair in trial(device, kind)? {
        if let Some(fault) = pair.apart()? {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}

/// Numbers between −½ and ½ that vary from place to place; the generators of the process are not touched.
pub(crate) fn varied(size: &[i64], seed: f64, device: Device, kind: Kind) -> Result<Tensor> {
    let places = Tensor::f_arange(size.iter().product::<i64>(), (Kind::Double, device))?;
    let numbers = places.f_add_scalar(seed)?.f_mul_scalar(12.9898)?.f_sin()?.f_mul_scalar(43_758.545_3)?;
    Ok(numbers.f_sub(&numbers.f_floor()?)?.f_sub_scalar(0.5)?.f_view(size)?.f_to_kind(kind)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn told(kernel: &[f32], operators: &[f32]) -> Option<String> {
        let [kernel, operators] = [kernel, operators].map(Tensor::from_slice);
        fault(Device::Cpu, Kind::Float, |_, _| Ok(vec![Pair::rounded(kernel, operators)])).unwrap()
    }

    #[test]
    fn rounding_passes_and_anything_else_is_told() {
        assert_eq!(told(&[1.0, 2.0], &[1.0, 2.000_001]), None);
        assert!(told(&[1.0, 2.0], &[1.0, 2.001]).unwrap().contains("off by 1.00e-3"));
        assert!(told(&[f32::NAN, 2.0], &[1.0, 2.0]).is_some());
        assert!(told(&[1.0, f32::INFINITY], &[1.0, 2.0]).is_some());
    }

    #[test]
    fn a_trial_may_ask_of_another_kernel_and_is_made_once() {
        let tried = Mutex::new(BTreeMap::new());
        let key = |name| (name, 0, 0, vec![1]);
        let outer = || known(&tried, key("outer"), || known(&tried, key("inner"), || true));
        assert!(outer());
        assert!(known(&tried, key("inner"), || unreachable!("it was tried")));
        assert!(known(&tried, key("outer"), || unreachable!("it was tried")));
    }

    #[test]
    fn nothing_is_tried_where_there_is_no_gpu() {
        let x = Tensor::zeros([2], (Kind::Float, Device::Cpu));
        let never = |_, _| -> Result<Vec<Pair>> { unreachable!("a CPU has no kernels") };
        assert!(Kernel::ALL.into_iter().all(|kernel| !trusted(kernel, &x, &[], never).unwrap()));
    }

    #[test]
    fn numbers_vary_and_are_the_same_each_time() {
        let [a, b] = [0, 1].map(|_| varied(&[4, 5], 3.0, Device::Cpu, Kind::Float).unwrap());
        assert!(a.equal(&b) && a.std(true).double_value(&[]) > 0.2);
        assert!(!a.equal(&varied(&[4, 5], 4.0, Device::Cpu, Kind::Float).unwrap()));
    }
}
