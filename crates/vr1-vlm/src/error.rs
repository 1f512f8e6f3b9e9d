use std::path::PathBuf;

use crate::TokenType;

/// What can go wrong between a checkpoint directory, a sample and a prompt; each message names the file or the sample.
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
    /// A tokenizer could not be read, trained, or used.
    #[error("{origin}: {reason}")]
    Tokenizer {
        /// The file, or what was being done.
        origin: String,
        /// What the library said.
        reason: String,
    },
    /// The tokenizer lacks a special token that is needed.
    #[error("{origin}: the tokenizer has no `{token}`, which {needed_for} needs")]
    MissingToken {
        /// Where the tokenizer came from.
        origin: String,
        /// The token.
        token: String,
        /// What needs it.
        needed_for: &'static str,
    },
    /// A token id that the tokenizer does not have.
    #[error("token id {id} is not in the tokenizer's vocabulary of {vocabulary} entries")]
    UnknownId {
        /// The id.
        id: i64,
        /// How many entries there are.
        vocabulary: usize,
    },
    /// A chat template is broken, or refused the conversation.
    #[error("{origin}: {reason}")]
    Template {
        /// Where the template came from.
        origin: String,
        /// What happened, and on which line.
        reason: String,
    },
    /// A chat was asked for and the checkpoint has no chat template.
    #[error(
        "{origin}: no chat template (chat_template.jinja, chat_template.json or tokenizer_config.json); use the raw \
         layout"
    )]
    NoTemplate {
        /// Where the processor came from.
        origin: String,
    },
    /// Images or videos came, and the checkpoint has no settings for them.
    #[error("sample `{sample}`: {count} {kind}(s), but the checkpoint has no settings for {kind}s: {reason}")]
    NoProcessor {
        /// The sample.
        sample: String,
        /// Images or videos.
        kind: TokenType,
        /// How many it has.
        count: usize,
        /// Why there are none.
        reason: String,
    },
    /// A sample's image or video could not be used.
    #[error("sample `{sample}`: {kind} {index}: {reason}")]
    Media {
        /// The sample.
        sample: String,
        /// Image or video.
        kind: TokenType,
        /// Which of its kind, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The rendered text has another number of placeholders than there are images or videos.
    #[error("sample `{sample}`: {placeholders} {kind} placeholder(s) in the rendered prompt for {given} {kind}(s)")]
    Placeholders {
        /// The sample.
        sample: String,
        /// Images or videos.
        kind: TokenType,
        /// Placeholders rendered.
        placeholders: usize,
        /// Images or videos given.
        given: usize,
    },
    /// Media tokens among ids that must be text.
    #[error("sample `{sample}`: id {id} at place {place} of the sampled tokens is a media token")]
    MediaToken {
        /// The sample.
        sample: String,
        /// The id.
        id: i64,
        /// Where it stands.
        place: usize,
    },
    /// A conversation of a shape that the layout cannot take.
    #[error("sample `{sample}`: {reason}")]
    Conversation {
        /// The sample.
        sample: String,
        /// What is wrong.
        reason: String,
    },
    /// A prompt that leaves no room; it is never cut.
    #[error("sample `{sample}`: a prompt of {tokens} tokens ({media} of them media) where {max_tokens} fit")]
    TooLong {
        /// The sample.
        sample: String,
        /// Its length.
        tokens: usize,
        /// How many of these are media tokens.
        media: usize,
        /// The limit.
        max_tokens: usize,
    },
    /// A processor whose prompts a model cannot take.
    #[error("processor and model do not fit: {processor}, but {model} in the model's config.json")]
    Misfit {
        /// The processor's setting.
        processor: String,
        /// The model's.
        model: String,
    },
    /// A part of a model that it does not have.
    #[error(
        "nothing in the model is called `{entry}`; `tower`, `merger`, `language` or the beginning of a name may be"
    )]
    NoSuchPart {
        /// What was asked for.
        entry: String,
    },
    /// A model that is neither a directory nor a Hub id that can be had.
    #[error("model `{model}`: {reason}")]
    Model {
        /// What was asked for.
        model: String,
        /// What is missing and where it was looked for.
        reason: String,
    },
    /// From layers and their weights.
    #[error(transparent)]
    Weights(#[from] vr1_nn::Error),
    /// From image preprocessing.
    #[error(transparent)]
    Vision(#[from] vr1_vision::Error),
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;
