use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{MediaSpan, Prompt, TokenType};
use crate::{Error, Patches, Result};

/// What follows a prompt, as one process tells it another that has the prompt: all but the patches of what it shows, which go beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    /// What it reads as.
    pub text: String,
    /// Token ids, as many placeholders for each span of media as it has tokens.
    pub input_ids: Vec<i64>,
    /// Where the media's tokens are, in order.
    pub media: Vec<MediaSpan>,
    /// Positions in time, height and width, a row each, from the prompt's end.
    pub position_ids: [Vec<i64>; 3],
    /// The position of what follows it.
    pub next_position: i64,
}

impl Tail {
    /// What a piece that follows a prompt is made of.
    pub fn of(piece: &Prompt) -> Self {
        Self {
            text: piece.text.clone(),
            input_ids: piece.input_ids.clone(),
            media: piece.media.clone(),
            position_ids: piece.position_ids.clone(),
            next_position: piece.next_position,
        }
    }
}

impl Prompt {
    /// The piece that follows this prompt, as another process [told](Tail::of) it; `patches` are those of each span.
    ///
    /// # Errors
    /// If its parts do not belong together.
    pub fn tail_of(&self, tail: Tail, patches: Vec<Arc<Patches>>) -> Result<Self> {
        let Tail { text, input_ids, media, position_ids, next_position } = tail;
        let wrong = |reason: String| Err(Error::Conversation { sample: self.sample.clone(), reason });
        let tokens = input_ids.len();
        if position_ids.iter().any(|row| row.len() != tokens) {
            return wrong(format!("what follows it has {tokens} tokens and not as many positions"));
        }
        if patches.len() != media.len() {
            return wrong(format!("what follows it shows {} pieces of media of {}", patches.len(), media.len()));
        }
        let (mut token_types, mut before) = (vec![TokenType::Text; tokens], 0);
        for MediaSpan { range, kind, .. } in &media {
            if range.start < before || range.end < range.start || range.end > tokens {
                return wrong(format!("its media do not stand in order among {tokens} tokens: {range:?}"));
            }
            before = range.end;
            token_types[range.clone()].fill(*kind);
        }
        let (sample, media_ids, source) = (self.sample.clone(), self.media_ids.clone(), None);
        Ok(Self {
            sample,
            text,
            input_ids,
            token_types,
            media,
            patches,
            position_ids,
            next_position,
            media_ids,
            source,
        })
    }
}
