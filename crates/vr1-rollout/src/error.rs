use std::path::PathBuf;

/// What can go wrong while sampling.
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
    /// A prompt that cannot be made or does not fit.
    #[error(transparent)]
    Processor(#[from] vr1_processor::Error),
    /// A prompt that the model cannot take.
    #[error(transparent)]
    Vlm(#[from] vr1_vlm::Error),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Tch(#[from] tch::TchError),
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
