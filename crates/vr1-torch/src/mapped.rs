use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// How many bytes are copied before their pages are given back.
const STRETCH: usize = 32 << 20;

/// A file mapped read-only into memory, as bytes.
///
/// A weight file is larger than anything else a program reads; mapped, its pages come in as tensors are copied out of
/// them, and [`MappedFile::copy_to`] gives them back as it goes, so that no more of them is in memory than is being read.
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

    /// Copies the numbers of `kind` that lie in `bytes` into all of `tensor`, in order, converted to its kind.
    ///
    /// # Errors
    /// If `bytes` are not in the file, or are not as many as `tensor` has numbers.
    ///
    /// # Example
    /// ```
    /// # let file = tempfile::NamedTempFile::new()?;
    /// // 1 and 1.5 in bf16, after four other bytes.
    /// std::fs::write(&file, [9, 9, 9, 9, 0x80, 0x3f, 0xc0, 0x3f])?;
    /// let tensor = tch::Tensor::zeros([2], (tch::Kind::Float, tch::Device::Cpu));
    /// vr1_torch::MappedFile::open(file.path())?.copy_to(4..8, tch::Kind::BFloat16, &tensor)?;
    /// assert_eq!(Vec::<f32>::try_from(tensor)?, [1.0, 1.5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn copy_to(&self, bytes: Range<usize>, kind: Kind, tensor: &Tensor) -> Result<()> {
        let (size, found) = (kind.elt_size_in_bytes(), bytes.len());
        let expected = tensor.numel() * size;
        if expected != found || bytes.end > self.map.len() {
            return Err(Error::Bytes { expected, found: self.map.len().saturating_sub(bytes.start).min(found) });
        }
        let flat = tensor.f_view([-1])?;
        for start in bytes.clone().step_by(STRETCH) {
            let end = bytes.end.min(start + STRETCH);
            let (first, count) = (((start - bytes.start) / size) as i64, ((end - start) / size) as i64);
            let data = &self.map[start..end];
            let source = if data.as_ptr().addr().is_multiple_of(size) {
                // SAFETY: the blob is `count` aligned numbers inside the mapping, which outlives it: it is dropped in this
                // block. Every bit pattern is a number of a floating-point kind, and nothing writes through it.
                unsafe { Tensor::f_from_blob(data.as_ptr(), &[count], &[], kind, Device::Cpu) }?
            } else {
                Tensor::f_from_data_size(data, &[count], kind)?
            };
            flat.f_narrow(0, first, count)?.f_copy_(&source)?;
            drop(source);
            self.give_back(start..end);
        }
        Ok(())
    }

    /// Lets the system take pages that have been read. That it does not is no error: it would take them when it must.
    #[cfg(unix)]
    fn give_back(&self, bytes: Range<usize>) {
        // SAFETY: the mapping is read-only and of a file, so that a page which is touched again is read again.
        let _ =
            unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, bytes.start, bytes.len()) };
    }

    #[cfg(not(unix))]
    fn give_back(&self, _: Range<usize>) {}
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
