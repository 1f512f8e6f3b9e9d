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
    /// A setting of the image processor that has a wrong value or that is not implemented.
    #[error("{file}: `{key}`: {reason}")]
    Setting {
        /// The file, or where else the settings came from.
        file: String,
        /// The setting, with dots between levels.
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
    /// A text that is far longer than any model's.
    #[error("a text of {bytes} bytes, and at most {most} are tokenised")]
    LongText {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        most: usize,
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
    /// A directory has no settings for images.
    #[error("{}: neither preprocessor_config.json nor an `image_processor` in processor_config.json", dir.display())]
    NoImageProcessor {
        /// The directory looked in.
        dir: PathBuf,
    },
    /// An image without pixels, or a size without pixels.
    #[error("an image of {height} × {width} (height × width) has no pixels")]
    EmptyImage {
        /// Its height.
        height: u32,
        /// Its width.
        width: u32,
    },
    /// An image that is too long for its width, or too wide for its height.
    #[error("an image of {height} × {width} (height × width): one side is more than 200 times the other")]
    AspectRatio {
        /// Its height.
        height: u32,
        /// Its width.
        width: u32,
    },
    /// Bounds on the area that no size in whole patches meets.
    #[error(
        "an image of {height} × {width} (height × width) cannot be given sides that are multiples of {factor} with \
         {min_pixels} to {max_pixels} pixels"
    )]
    NoSize {
        /// The image's height.
        height: u32,
        /// The image's width.
        width: u32,
        /// What both sides must be multiples of.
        factor: u32,
        /// The least area.
        min_pixels: u64,
        /// The greatest area.
        max_pixels: u64,
    },
    /// The resizing library refused.
    #[error("cannot resize to {height} × {width} (height × width): {reason}")]
    Resize {
        /// The height wanted.
        height: u32,
        /// The width wanted.
        width: u32,
        /// What the library said.
        reason: String,
    },
    /// An image whose sides are not whole patches, where resizing is switched off.
    #[error("an image of {height} × {width} (height × width) is not made of whole {unit} × {unit} squares")]
    NotWholePatches {
        /// Its height.
        height: usize,
        /// Its width.
        width: usize,
        /// `patch_size * merge_size`.
        unit: usize,
    },
    /// A video of which the frames asked for cannot be taken.
    #[error("a video of {total} frame(s): {reason}")]
    Sampling {
        /// How many it has.
        total: usize,
        /// Why not.
        reason: String,
    },
    /// A video for a family of models that takes none.
    #[error("its family of models takes no videos")]
    NoVideos,
    /// A picture that no canvas of those listed shows anything of.
    #[error("an image of {height} × {width} (height × width): none of the canvases shows a whole pixel of it")]
    NoCanvas {
        /// Its height.
        height: u32,
        /// Its width.
        width: u32,
    },
    /// A video without frames.
    #[error("a video without frames")]
    NoFrames,
    /// A video whose frames differ in size.
    #[error("frame {frame} is {height} × {width}, the frames before it are {} × {}", expected[0], expected[1])]
    FrameSize {
        /// Which frame, from 0.
        frame: usize,
        /// Its height.
        height: u32,
        /// Its width.
        width: u32,
        /// Height and width of the first frame.
        expected: [usize; 2],
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// The same error; of a text that is too long with the sample whose it is.
    pub(crate) fn of_sample(self, sample: &str) -> Self {
        match self {
            Self::LongText { .. } => Self::Conversation { sample: sample.to_owned(), reason: self.to_string() },
            other => other,
        }
    }
}

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;
