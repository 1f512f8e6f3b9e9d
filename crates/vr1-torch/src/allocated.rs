use std::ffi::{c_char, c_void};
use std::ptr;

use crate::Result;
use crate::message::check;

unsafe extern "C" {
    fn vr1_counting_begin(limit: i64, counting: *mut *mut c_void) -> *mut c_char;
    fn vr1_counting_end(counting: *mut c_void, held: *mut i64, most: *mut i64);
}

/// What some work took of the memory of tensors, in bytes, over all devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocated {
    /// How much more was held at the end than at the beginning.
    pub left: i64,
    /// How much more was held at most.
    pub peak: i64,
}

/// Runs `work` and counts the bytes of tensors that come and go on this thread and in the backward passes that it begins. What
/// libtorch's operations allocate for themselves, and Rust, is not counted.
///
/// # Errors
/// If libtorch refuses.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let zeros = || Tensor::zeros([1000], (Kind::Float, Device::Cpu));
/// let (kept, bytes) = vr1_torch::allocated(|| {
///     let kept = zeros();
///     drop(zeros());
///     kept
/// })?;
/// assert_eq!((bytes.left, bytes.peak), (4000, 8000));
/// # drop(kept);
/// # Ok::<(), vr1_torch::Error>(())
/// ```
pub fn allocated<T>(work: impl FnOnce() -> T) -> Result<(T, Allocated)> {
    within(i64::MAX, work)
}

/// Runs `work` as if there were room for so many bytes of tensors more than are there: an operation that goes beyond finds no memory, which
/// [`guarded`](crate::guarded) makes an error of. What is counted is what [`allocated`] counts, on the CPU.
///
/// # Errors
/// If libtorch refuses to count.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
/// use vr1_torch::{Error, guarded, limited};
///
/// let zeros = |n: i64| guarded(|| Tensor::zeros([n], (Kind::Float, Device::Cpu)));
/// let (small, large) = limited(8000, || (zeros(1000), zeros(1001)))?;
/// assert_eq!(small?.size(), [1000]);
/// assert!(matches!(large, Err(Error::OutOfMemory { .. })));
/// # Ok::<(), Error>(())
/// ```
pub fn limited<T>(bytes: u64, work: impl FnOnce() -> T) -> Result<T> {
    Ok(within(i64::try_from(bytes).unwrap_or(i64::MAX), work)?.0)
}

fn within<T>(limit: i64, work: impl FnOnce() -> T) -> Result<(T, Allocated)> {
    let mut counting = Counting(ptr::null_mut());
    // SAFETY: the shim writes the counter, which is ended once, on this thread: it cannot be sent to another.
    unsafe { check(vr1_counting_begin(limit, &mut counting.0))? };
    let out = work();
    Ok((out, counting.end()))
}

/// A counter that is ended whatever happens.
struct Counting(*mut c_void);

impl Counting {
    fn end(mut self) -> Allocated {
        let mut bytes = Allocated { left: 0, peak: 0 };
        // SAFETY: it was begun, and nobody ends it again: the pointer is taken.
        unsafe { vr1_counting_end(std::mem::replace(&mut self.0, ptr::null_mut()), &mut bytes.left, &mut bytes.peak) };
        bytes
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if !self.0.is_null() {
            let (mut held, mut most) = (0, 0);
            // SAFETY: as in `end`.
            unsafe { vr1_counting_end(self.0, &mut held, &mut most) };
        }
    }
}
