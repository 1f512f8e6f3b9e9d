use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::local::{brief, not_local};

/// What can go wrong with data; every message names the file or the dataset, the place and the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("{}: {source}", brief(&path.to_string_lossy()))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A path under which there can be no file.
    #[error("{:?} {reason}", path.display())]
    NoPath {
        /// What was given as one.
        path: PathBuf,
        /// That it is empty, or an address.
        reason: &'static str,
    },
    /// A file is there but is no image that can be decoded.
    #[error("{}: not a readable image: {source}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: image::ImageError,
    },
    /// An image's header claims more pixels than [`MAX_PIXELS`](crate::MAX_PIXELS).
    #[error("{}: {width}x{height} pixels, more than the limit of {limit}", path.display())]
    TooManyPixels {
        /// The file.
        path: PathBuf,
        /// Claimed width in pixels.
        width: u32,
        /// Claimed height in pixels.
        height: u32,
        /// The limit in pixels.
        limit: u64,
    },
    /// A video that cannot be used.
    #[error("{}: {reason}", path.display())]
    Video {
        /// The file or the folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of a typeface that nothing can be written with.
    #[error("{}: {reason}", path.display())]
    Font {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A text that cannot be drawn.
    #[error("{what}: cannot be drawn, {reason}")]
    Text {
        /// Whose text it is, or how it begins.
        what: String,
        /// Which character it is, and what is wrong.
        reason: String,
    },
    /// A file of rows has faults; all of them, up to a few, are listed one a line as `file:line: reason`.
    #[error("{}", .faults.join("\n"))]
    Rows {
        /// `file:line: reason`, in file order.
        faults: Vec<String>,
    },
    /// A repository of the Hub that cannot be had.
    #[error("{id}: {reason}")]
    Hub {
        /// What was asked for.
        id: String,
        /// What is missing and where it was looked for.
        reason: String,
    },
    /// A sample was asked for that the dataset does not have.
    #[error("{dataset}: no sample {index}, it has {len}")]
    Index {
        /// The dataset's name.
        dataset: String,
        /// The index asked for.
        index: usize,
        /// The dataset's length.
        len: usize,
    },
    /// A setting has a value that cannot work.
    #[error("{what}: {reason}")]
    Setting {
        /// The setting.
        what: String,
        /// Why its value cannot work.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match not_local(&path).filter(|_| source.kind() == ErrorKind::NotFound) {
            Some(reason) => Self::NoPath { path, reason },
            None => Self::Io { path, source },
        }
    }

    pub(crate) fn setting(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Setting { what: what.into(), reason: reason.into() }
    }
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
