use crate::{Picture, Result, Video};

/// A sample's own JSON object: what its row or its scene says beyond question and solution.
pub type Fields = serde_json::Map<String, serde_json::Value>;

/// A question with its media and its solution.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Names the sample in errors, rollouts and reports.
    pub id: String,
    /// What is shown, in this order.
    pub media: Vec<Media>,
    /// Where in the conversation each of the media is shown; empty where all come before the question. Whoever writes another
    /// question writes other places too, or none.
    pub places: Vec<Place>,
    /// The question, without any media marker.
    pub question: String,
    /// The answer that counts as right, as text.
    pub solution: String,
    /// A staged conversation to imitate; empty when there is none.
    pub turns: Vec<Turn>,
    /// Everything else known of the sample, for text templates and rewards.
    pub fields: Fields,
}

/// What the turns of a staged conversation are called, in LLaVA-CoT's and LlamaV-o1's order.
pub(crate) const STAGES: [&str; 4] = ["summary", "caption", "reasoning", "conclusion"];

/// Where a piece of media is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// In what the user says first, which is the question, or in a later turn of a staged conversation, from 0.
    pub turn: usize,
    /// Before which byte of its words.
    pub at: usize,
}

/// One step of a staged conversation: what the user asks and what the model should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The stage, such as `summary` or `conclusion`.
    pub name: String,
    /// The user's text; in the first turn it begins with the question.
    pub prompt: String,
    /// The text to imitate.
    pub answer: String,
}

/// One piece of media of a sample.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Media {
    /// A still image.
    Image(Picture),
    /// A video.
    Video(Video),
}

impl Media {
    /// The picture, or the first frame of a video that is given frame by frame: what can be looked at without decoding a video.
    #[must_use]
    pub fn picture(&self) -> Option<&Picture> {
        match self {
            Self::Image(picture) => Some(picture),
            Self::Video(Video::Frames { frames, .. }) => frames.first(),
            Self::Video(Video::File(_)) => None,
        }
    }

    /// The BLAKE3 hash of it as it is given: of its file, of pixels where there is no file, and of the hashes of a video's frames.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn hash(&self) -> Result<String> {
        match self {
            Self::Image(picture) => picture.hash(),
            Self::Video(Video::File(path)) => Picture::File(path.clone()).hash(),
            Self::Video(Video::Frames { frames, .. }) => {
                let hashes = frames.iter().map(Picture::hash).collect::<Result<Vec<_>>>()?;
                Ok(blake3::hash(hashes.concat().as_bytes()).to_hex().to_string())
            }
        }
    }
}

/// `a`, `a or b`, `a, b or c`
pub(crate) fn or_list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
