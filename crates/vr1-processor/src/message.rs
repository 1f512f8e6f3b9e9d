use std::sync::Arc;

use image::RgbImage;
use serde_json::Value;
use vr1_data::{Media, Picture, Said, SaidPart, Sample, Speaker, Video};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Instructions that stand above the conversation.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool that the model called.
    Tool,
}

impl Role {
    /// The name chat templates know the role by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// A piece of a message. Roles, ends and media come from the kind of a part alone, whatever a text says.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Part {
    /// Words.
    Text(String),
    /// A still image.
    Image(Picture),
    /// A video.
    Video(Video),
    /// The assistant's call of a function.
    ToolCall {
        /// The function.
        name: String,
        /// What it is called with: a JSON object.
        arguments: Value,
    },
}

impl From<&str> for Part {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Picture> for Part {
    fn from(picture: Picture) -> Self {
        Self::Image(picture)
    }
}

impl From<Video> for Part {
    fn from(video: Video) -> Self {
        Self::Video(video)
    }
}

impl From<Arc<RgbImage>> for Part {
    fn from(pixels: Arc<RgbImage>) -> Self {
        Self::Image(Picture::Pixels(pixels))
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said and shown, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// A turn of words alone.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, parts: vec![Part::Text(text.into())] }
    }

    /// A user's turn: pictures and videos in order, then the words.
    pub fn user<P: Into<Part>>(media: impl IntoIterator<Item = P>, text: impl Into<String>) -> Self {
        let mut parts: Vec<Part> = media.into_iter().map(Into::into).collect();
        parts.push(Part::Text(text.into()));
        Self { role: Role::User, parts }
    }

    /// What is said about a sample, its media in their places.
    pub fn said(said: &Said, sample: &Sample) -> Self {
        let role = match said.speaker {
            Speaker::System => Role::System,
            Speaker::User => Role::User,
            Speaker::Assistant => Role::Assistant,
        };
        let piece = |piece: &SaidPart| match piece {
            SaidPart::Text(words) => Some(Part::Text(words.clone())),
            SaidPart::Media(index) => sample.media.get(*index).and_then(part),
        };
        Self { role, parts: said.parts.iter().filter_map(piece).collect() }
    }

    /// The images of the turn.
    pub fn images(&self) -> impl Iterator<Item = &Picture> {
        self.parts.iter().filter_map(|part| if let Part::Image(picture) = part { Some(picture) } else { None })
    }

    /// The videos of the turn.
    pub fn videos(&self) -> impl Iterator<Item = &Video> {
        self.parts.iter().filter_map(|part| if let Part::Video(video) = part { Some(video) } else { None })
    }

    /// Whether something is shown.
    pub(crate) fn has_media(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Image(_) | Part::Video(_)))
    }

    /// The words of the turn, joined without anything between.
    pub fn words(&self) -> String {
        self.parts
            .iter()
            .filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None })
            .collect()
    }
}

/// The media of a sample as parts of a message, in order.
pub fn media(sample: &Sample) -> Vec<Part> {
    sample.media.iter().filter_map(part).collect()
}

fn part(media: &Media) -> Option<Part> {
    match media {
        Media::Image(picture) => Some(Part::Image(picture.clone())),
        Media::Video(video) => Some(Part::Video(video.clone())),
        _ => None,
    }
}

/// The pictures of a sample, in order.
pub fn pictures(sample: &Sample) -> Vec<Picture> {
    let picture = |media: &Media| if let Media::Image(picture) = media { Some(picture.clone()) } else { None };
    sample.media.iter().filter_map(picture).collect()
}
