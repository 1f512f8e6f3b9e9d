#![doc = include_str!("../README.md")]

mod adamw;
mod device;
mod mapped;

pub use adamw::{AdamWStep, fused_adamw};
pub use device::device;
pub use mapped::MappedFile;

/// What can go wrong at the border to libtorch and the operating system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A device name that is neither `cpu` nor `cuda` nor `cuda:N`.
    #[error("unknown device {0:?}: expected `cpu`, `cuda` or `cuda:N`")]
    UnknownDevice(String),
    /// CUDA was asked for and cannot be used; the reason says which part is missing.
    #[error("device {device} cannot be used: {reason}")]
    NoCuda {
        /// The device as it was asked for.
        device: String,
        /// What is missing.
        reason: String,
    },
    /// Lists of tensors that must be of one length are not.
    #[error("fused AdamW wants as many {what} as parameters: {found} against {expected}")]
    Count {
        /// Which list.
        what: &'static str,
        /// How many parameters there are.
        expected: usize,
        /// How many the list holds.
        found: usize,
    },
    /// A tensor and the bytes that it is to be read from differ in size.
    #[error("{found} bytes where the tensor takes {expected}")]
    Bytes {
        /// What the tensor takes.
        expected: usize,
        /// What is there.
        found: usize,
    },
    /// libtorch threw an exception.
    #[error("libtorch: {0}")]
    Torch(String),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Tch(#[from] tch::TchError),
    /// A file could not be opened or mapped.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
