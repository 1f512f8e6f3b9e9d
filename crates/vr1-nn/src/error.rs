use std::fmt;
use std::path::PathBuf;

use crate::Checkpoint;

/// What can go wrong with layers and their weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A directory holds no weights.
    #[error("{0}: no `model.safetensors` and no `model.safetensors.index.json` in this directory")]
    NoWeights(PathBuf),
    /// A file is no safetensors file, or is cut short.
    #[error("{path}: not a whole safetensors file: {reason}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the reader objects to.
        reason: String,
    },
    /// A shard index is not what it should be.
    #[error("{path}: {reason}")]
    Index {
        /// The index file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Tensors are missing, unexpected or of another shape.
    #[error("{path}: the weights do not fit the model{problems}")]
    Weights {
        /// The directory.
        path: PathBuf,
        /// Every problem found; boxed, for it is far larger than any other error.
        problems: Box<Problems>,
    },
    /// A parameter holds a number that is NaN or infinite.
    #[error("{name} holds a number that is not finite")]
    NotFinite {
        /// The first such parameter.
        name: String,
    },
    /// A setting of a layer is impossible.
    #[error("{0}")]
    Config(String),
    /// libtorch refused an operation, or a file could not be mapped.
    #[error(transparent)]
    Torch(#[from] vr1_torch::Error),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Tch(#[from] tch::TchError),
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything in which a file of weights differs from the model it is loaded into.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Problems {
    /// Names the model has and the file lacks.
    pub missing: Vec<String>,
    /// Names the file has and the model lacks.
    pub unexpected: Vec<String>,
    /// Names with the model's shape and the file's.
    pub misshapen: Vec<(String, Vec<i64>, Vec<i64>)>,
    /// Names with a kind of number that is not a floating-point one.
    pub kinds: Vec<(String, String)>,
    /// Names whose numbers are not those of the parameter that the config ties them to.
    pub untied: Vec<(String, String)>,
}

impl Problems {
    /// Adds what `checkpoint` holds and nobody asked for, and fails if there is anything.
    pub(crate) fn finish(&mut self, checkpoint: &Checkpoint, used: impl Fn(&str) -> bool) -> Result<()> {
        self.unexpected = checkpoint.names().filter(|name| !used(name)).map(str::to_owned).collect();
        match self.is_empty() {
            true => Ok(()),
            false => {
                let problems = std::mem::take(self).called(|own| checkpoint.family().published(own));
                Err(Error::Weights { path: checkpoint.path().to_owned(), problems: Box::new(problems) })
            }
        }
    }

    /// The same, each tensor under the name that `name` has for it.
    pub(crate) fn called(self, name: impl Fn(&str) -> String) -> Self {
        let names = |list: Vec<String>| list.iter().map(|own| name(own)).collect();
        Self {
            missing: names(self.missing),
            unexpected: names(self.unexpected),
            misshapen: self.misshapen.into_iter().map(|(own, wanted, found)| (name(&own), wanted, found)).collect(),
            kinds: self.kinds.into_iter().map(|(own, kind)| (name(&own), kind)).collect(),
            untied: self.untied.into_iter().map(|(own, of)| (name(&own), name(&of))).collect(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.misshapen.is_empty()
            && self.kinds.is_empty()
            && self.untied.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.missing {
            write!(f, "\n  missing: {name}")?;
        }
        for name in &self.unexpected {
            write!(f, "\n  unexpected: {name}")?;
        }
        for (name, wanted, found) in &self.misshapen {
            write!(f, "\n  shape of {name}: the model has {wanted:?}, the file {found:?}")?;
        }
        for (name, kind) in &self.kinds {
            write!(f, "\n  kind of {name}: {kind} is not a floating-point kind")?;
        }
        for (name, of) in &self.untied {
            write!(f, "\n  {name} is tied to {of} by the config, and differs from it in the file")?;
        }
        Ok(())
    }
}
