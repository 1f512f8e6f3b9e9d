use std::path::PathBuf;

/// What can go wrong between a checkpoint directory and a model; each message names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not JSON.
    #[error("{}: not valid JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A setting in a file has a wrong value.
    #[error("{}: `{key}`: {reason}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// The setting.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Weights that do not fit because they are quantised.
    #[error(
        "{}: `{key}`: the weights are quantised ({method}) and do not fit; only weights of floating-point numbers load: take \
         the model that this one was made of",
        path.display()
    )]
    Quantized {
        /// The config.
        path: PathBuf,
        /// Its key.
        key: &'static str,
        /// The method that it names.
        method: String,
    },
    /// A processor whose prompts a model cannot take.
    #[error("processor and model do not fit: {processor}, but {model} in the model's config.json")]
    Misfit {
        /// The processor's setting.
        processor: String,
        /// The model's.
        model: String,
    },
    /// A batch without sequences, or without prompts: there is nothing to run over.
    #[error("a batch of no {what}")]
    Empty {
        /// What there is none of.
        what: &'static str,
    },
    /// A part of a model that it does not have.
    #[error("nothing in the model is called `{entry}`; {parts} or the beginning of a name may be")]
    NoSuchPart {
        /// What was asked for.
        entry: String,
        /// What its parts are called.
        parts: String,
    },
    /// A model that is neither a directory nor a Hub id that can be had.
    #[error("model `{model}`: {reason}")]
    Model {
        /// What was asked for.
        model: String,
        /// What is missing and where it was looked for.
        reason: String,
    },
    /// From the border to libtorch.
    #[error(transparent)]
    Torch(#[from] vr1_torch::Error),
    /// From layers and their weights.
    #[error(transparent)]
    Weights(#[from] vr1_nn::Error),
    /// From tokenizer, chat template, pictures and prompts.
    #[error(transparent)]
    Processor(#[from] vr1_processor::Error),
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;
