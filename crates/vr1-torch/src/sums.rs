use std::ffi::{c_char, c_void};
use std::ptr::{self, NonNull};

use tch::Tensor;

use crate::Result;
use crate::message::check;

unsafe extern "C" {
    fn vr1_sum_begin(leaf: *const c_void, sum: *mut *mut c_void) -> *mut c_char;
    fn vr1_sum_take(sum: *mut c_void) -> *mut c_void;
    fn vr1_sum_end(sum: *mut c_void);
}

/// The gradients of leaves, summed over backward passes in f32 (f64 for f64) whatever the leaves are.
///
/// A gradient leaves its leaf as soon as a backward pass has made it, so that those of narrow leaves are never held all at once beside
/// their sums. What no second one was added to is as it came, in the leaf's own kind.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let x = Tensor::ones([1], (Kind::BFloat16, Device::Cpu)).set_requires_grad(true);
/// let sums = vr1_torch::GradientSums::new([&x])?;
/// for factor in [256.0, 1.0] {
///     (&x * factor).sum(Kind::Float).backward();
/// }
/// assert!(!x.grad().defined());
/// // 257 is no number of bf16.
/// assert_eq!(sums.take()[0].as_ref().map(|sum| sum.double_value(&[0])), Some(257.0));
/// # Ok::<(), vr1_torch::Error>(())
/// ```
#[derive(Debug)]
pub struct GradientSums(Vec<Sum>);

#[derive(Debug)]
struct Sum(NonNull<c_void>);

impl GradientSums {
    /// Sums of the gradients of `leaves`, from here on as long as this lives; a leaf has one at a time.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn new<'a>(leaves: impl IntoIterator<Item = &'a Tensor>) -> Result<Self> {
        let begin = |leaf: &Tensor| {
            let mut sum = ptr::null_mut();
            // SAFETY: the leaf outlives the call; what is written is given back to `vr1_sum_end` once.
            check(unsafe { vr1_sum_begin(leaf.as_ptr().cast(), &mut sum) })?;
            NonNull::new(sum).map(Sum).ok_or_else(|| crate::Error::Torch("no sum for gradients".to_owned()))
        };
        Ok(Self(leaves.into_iter().map(begin).collect::<Result<_>>()?))
    }

    /// The sums, in the order of the leaves; nothing where no backward pass made a gradient.
    pub fn take(self) -> Vec<Option<Tensor>> {
        let take = |sum: &Sum| {
            // SAFETY: the sum lives; a tensor that comes back is ours alone.
            unsafe {
                let value = vr1_sum_take(sum.0.as_ptr());
                (!value.is_null()).then(|| Tensor::from_ptr(value.cast()))
            }
        };
        self.0.iter().map(take).collect()
    }
}

impl Drop for Sum {
    fn drop(&mut self) {
        // SAFETY: it came from `vr1_sum_begin`, and nothing uses it after this.
        unsafe { vr1_sum_end(self.0.as_ptr()) }
    }
}
