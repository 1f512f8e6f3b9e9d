use std::ffi::OsStr;
use std::sync::OnceLock;

use libloading::Library;

use crate::{Error, Result};

/// A library that is never unloaded, so that its functions are there for the life of the process.
#[derive(Clone, Copy)]
pub(crate) struct Loaded(&'static Library);

impl Loaded {
    /// Loads it, or finds it loaded.
    ///
    /// # Safety
    /// Its initialisers may run.
    pub(crate) unsafe fn open(name: impl AsRef<OsStr>) -> Result<Self, libloading::Error> {
        // SAFETY: the caller's promise.
        Ok(Self(Box::leak(Box::new(unsafe { Library::new(name) }?))))
    }

    /// One of its functions.
    ///
    /// # Safety
    /// `F` is its type.
    pub(crate) unsafe fn get<F: Copy + 'static>(self, name: &str) -> Result<F, libloading::Error> {
        // SAFETY: the caller's promise; the library outlives what is copied.
        Ok(*unsafe { self.0.get::<F>(name.as_bytes()) }?)
    }
}

/// What `load` gives the first time; why there is none is told every time.
pub(crate) fn once<T>(
    known: &'static OnceLock<Result<T, String>>,
    load: fn() -> Result<T, String>,
) -> Result<&'static T> {
    known.get_or_init(load).as_ref().map_err(|reason| Error::Kernels(reason.clone()))
}
