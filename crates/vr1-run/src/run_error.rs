//! What can go wrong with a run folder and the files in it.

use std::{error::Error, io, path::PathBuf};

/// Why a run folder could not be made, read or written; it names the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file stands where a folder has to be.
    #[error("{} is a file, but the run needs a folder there", .0.display())]
    NotAFolder(PathBuf),
    /// The folder already holds a run, which is not overwritten.
    #[error("{} already holds a run: resume it, or choose another folder", .0.display())]
    Occupied(PathBuf),
    /// The folder holds no run to resume or report.
    #[error("{} holds no run: there is no config.yaml in it", .0.display())]
    NoRun(PathBuf),
    /// Another process writes to this run at this moment.
    #[error("{} is being written by another process", .0.display())]
    InUse(PathBuf),
    /// The folder of a run under way is not there any more, or another stands in its place.
    #[error("{} was removed or replaced while the run was under way; nothing more is written there", .0.display())]
    Gone(PathBuf),
    /// A file of the run does not hold what it should.
    #[error("{}:{line}: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A value could not be turned into the text of a file.
    #[error("cannot write {}: {reason}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What stood in the way.
        reason: String,
    },
    /// A file of a checkpoint is not what was written, or the checkpoint is not there.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file, or the checkpoint's folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A page cannot be served at an address.
    #[error("cannot listen at {address}: {reason}")]
    Address {
        /// The address, as it was given.
        address: String,
        /// What is wrong with it, or what the system said.
        reason: String,
    },
    /// The contents of a checkpoint could not be written; the one before it is untouched.
    #[error("checkpoint {} was not written: {source}", path.display())]
    Checkpoint {
        /// The checkpoint's folder.
        path: PathBuf,
        /// What the writer said.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl RunError {
    /// For `map_err`: an I/O error on `path` while trying to `action`.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
