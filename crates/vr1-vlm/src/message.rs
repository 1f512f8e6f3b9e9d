use std::sync::Arc;

use image::RgbImage;
use vr1_data::Picture;

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

/// A piece of a message. Special tokens come from the kind of a part alone: whatever a text says is text.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Part {
    /// Words.
    Text(String),
    /// A still image.
    Image(Picture),
}

impl From<&str> for Part {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
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

    /// A user's turn: the pictures in order, then the words.
    pub fn user(pictures: impl IntoIterator<Item = Picture>, text: impl Into<String>) -> Self {
        let mut parts: Vec<Part> = pictures.into_iter().map(Part::Image).collect();
        parts.push(Part::Text(text.into()));
        Self { role: Role::User, parts }
    }

    /// The images of the turn.
    pub fn images(&self) -> impl Iterator<Item = &Picture> {
        self.parts.iter().filter_map(|part| match part {
            Part::Image(picture) => Some(picture),
            Part::Text(_) => None,
        })
    }

    /// The words of the turn, joined without anything between.
    pub fn words(&self) -> String {
        self.parts
            .iter()
            .filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None })
            .collect()
    }
}
