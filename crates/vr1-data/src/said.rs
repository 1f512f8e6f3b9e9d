use serde::{Deserialize, Serialize};

use crate::Sample;

/// Who says something in a row's conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// Instructions that stand above the conversation.
    System,
    /// The one who asks; `human` in some rows.
    #[serde(alias = "human")]
    User,
    /// The model; `gpt` in some rows.
    #[serde(alias = "gpt")]
    Assistant,
}

impl Speaker {
    /// The speaker's name, as chat templates have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// A piece of what is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaidPart {
    /// Words, as the row has them: white space is kept.
    Text(String),
    /// The image or video at this place of the sample's media.
    Media(usize),
}

/// One turn of a conversation: what is said and shown, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who says it.
    pub speaker: Speaker,
    /// Words and media in the order they come; only a system's turn may have none.
    pub parts: Vec<SaidPart>,
}

impl Said {
    /// A turn of words alone.
    #[must_use]
    pub fn text(speaker: Speaker, text: impl Into<String>) -> Self {
        Self { speaker, parts: vec![SaidPart::Text(text.into())] }
    }

    /// The user's turn that shows all media of a sample in order, then asks its question.
    #[must_use]
    pub fn question(sample: &Sample) -> Self {
        let media = (0..sample.media.len()).map(SaidPart::Media);
        let parts = media.chain([SaidPart::Text(sample.question.clone())]).collect();
        Self { speaker: Speaker::User, parts }
    }

    /// The words of the turn, joined without anything between.
    #[must_use]
    pub fn words(&self) -> String {
        let text = |part: &SaidPart| match part {
            SaidPart::Text(text) => Some(text.clone()),
            SaidPart::Media(_) => None,
        };
        self.parts.iter().filter_map(text).collect()
    }
}

/// What was said last by `speaker`.
pub(crate) fn last_words(turns: &[Said], speaker: Speaker) -> String {
    turns.iter().rfind(|turn| turn.speaker == speaker).map_or_else(String::new, Said::words)
}
