use std::path::PathBuf;

use crate::SampleKey;

/// What can go wrong while sequences are made or sampled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting out of its range.
    #[error("sampling: {field} is {value}, and must be {allowed}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A `generation_config.json` that cannot be used.
    #[error("{}: {reason}", path.display())]
    GenerationConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A sequence that cannot be.
    #[error("sample `{sample}`: {reason}")]
    Sequence {
        /// The sample.
        sample: String,
        /// What is wrong.
        reason: String,
    },
    /// A group that cannot be.
    #[error("the group of sample {} of data set {} (epoch {}): {reason}", key.index, key.dataset, key.epoch)]
    Group {
        /// What it was drawn from.
        key: SampleKey,
        /// What is wrong.
        reason: String,
    },
    /// An engine that had nothing under way before everything was done.
    #[error("the engine gave {done} of {wanted} groups and has nothing more under way")]
    Lost {
        /// Groups it gave.
        done: usize,
        /// Groups asked for.
        wanted: usize,
    },
    /// A script that has no answer.
    #[error("the script has no answer to completion {completion} of `{sample}`")]
    NoAnswer {
        /// The sample.
        sample: String,
        /// Which completion, from 0.
        completion: usize,
    },
    /// A prompt that cannot be made or taken, or ids that cannot be spelt.
    #[error(transparent)]
    Processor(#[from] vr1_processor::Error),
    /// What an engine says of its own.
    #[error("{0}")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// An engine's own error.
    pub fn engine(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Engine(error.into())
    }
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
