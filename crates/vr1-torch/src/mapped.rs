use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use crate::{Error, Result};

/// A file mapped read-only into memory, as bytes.
///
/// A weight file is larger than anything else a program reads; mapped, its pages come in as tensors are copied out of
/// them and cost no memory of their own.
#[derive(Debug)]
pub struct MappedFile {
    map: memmap2::Mmap,
}

impl MappedFile {
    /// Maps `path`.
    ///
    /// # Errors
    /// If the file cannot be opened or mapped; the error names it.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the mapping is read-only and private to us. A file that another program shortens while it is mapped
        // ends the process with SIGBUS, which cannot be turned into an error; weight files are written aside and then
        // renamed, by vr1 as by the hub's client, so that they do not shrink under a reader.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        Ok(Self { map })
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
