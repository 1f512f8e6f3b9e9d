use std::ffi::{c_char, c_void};
use std::ptr;

use tch::Tensor;

use crate::message::check;
use crate::{Error, Result};

unsafe extern "C" {
    fn vr1_storage_of(tensor: *const c_void) -> *const c_void;
    fn vr1_storage_is_there(tensor: *const c_void) -> bool;
    fn vr1_storage_free(tensor: *const c_void) -> *mut c_char;
    fn vr1_storage_fill(tensor: *const c_void) -> *mut c_char;
    fn vr1_storage_bytes(tensor: *const c_void, out: *mut *mut c_void) -> *mut c_char;
}

/// The memory that a tensor's numbers lie in, with all other tensors that are views of it.
///
/// It can be [given back](Self::free) and [taken again](Self::take) while all those tensors stay, whoever holds them, graphs of autograd
/// too: what is computed of them meanwhile is wrong, and libtorch finds that out for some operations alone.
///
/// # Example
/// ```
/// use tch::Tensor;
/// use vr1_torch::Storage;
///
/// let whole = Tensor::from_slice(&[1f32, 2.0, 3.0]);
/// let storage = Storage::of(&whole)?;
/// let kept = storage.bytes()?.copy();
/// storage.free()?;
/// assert!(!storage.is_there());
/// storage.take()?;
/// storage.bytes()?.copy_(&kept);
/// assert_eq!(Vec::<f32>::try_from(whole.narrow(0, 1, 2))?, [2.0, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Storage(Tensor);

impl Storage {
    /// That of `tensor`.
    ///
    /// # Errors
    /// If the tensor has none.
    pub fn of(tensor: &Tensor) -> Result<Self> {
        match storage_of(tensor).is_null() {
            false => Ok(Self(tensor.detach())),
            true => Err(Error::Unfit { function: "a storage", reason: "the tensor has none".to_owned() }),
        }
    }

    /// What tells it from others that are there at the same time.
    pub fn number(&self) -> usize {
        storage_of(&self.0).addr()
    }

    /// Whether it is there: not between [`free`](Self::free) and [`take`](Self::take).
    pub fn is_there(&self) -> bool {
        // SAFETY: the tensor lives, and has a storage.
        unsafe { vr1_storage_is_there(self.0.as_ptr().cast()) }
    }

    /// Gives the memory back, and what is in it.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn free(&self) -> Result<()> {
        // SAFETY: the tensor lives, and has a storage; whoever had a pointer into it is another operation of libtorch's, which is over or,
        // on a GPU, before all that gets the memory next.
        check(unsafe { vr1_storage_free(self.0.as_ptr().cast()) })
    }

    /// Takes as much memory again, of the device that it was on, whatever is in it.
    ///
    /// # Errors
    /// If there is none.
    pub fn take(&self) -> Result<()> {
        // SAFETY: as in `free`.
        check(unsafe { vr1_storage_fill(self.0.as_ptr().cast()) })
    }

    /// All of it as bytes, `[n]`, while it is there. Who writes into them changes all views, and none of them notices: a graph takes its numbers
    /// for those that it saved.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn bytes(&self) -> Result<Tensor> {
        let mut out = ptr::null_mut();
        // SAFETY: the tensor lives, and has a storage; where the call returns null it has written a tensor that nobody else owns.
        unsafe {
            check(vr1_storage_bytes(self.0.as_ptr().cast(), &mut out))?;
            Ok(Tensor::from_ptr(out.cast()))
        }
    }
}

fn storage_of(tensor: &Tensor) -> *const c_void {
    // SAFETY: the tensor outlives the call; what comes back is not followed.
    unsafe { vr1_storage_of(tensor.as_ptr().cast()) }
}
