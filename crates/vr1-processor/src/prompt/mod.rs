mod tail;

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vr1_data::Picture;

pub use self::tail::Tail;

use crate::media::Run;
use crate::positions::{Span, rope_positions};
use crate::{Error, Layout, Message, Patches, Result};

/// What a token stands for; the numbers are those of transformers' `mm_token_type_ids`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenType {
    /// A piece of text, or a special token.
    Text = 0,
    /// One of an image's tokens.
    Image = 1,
    /// One of a video's tokens.
    Video = 2,
}

impl std::fmt::Display for TokenType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Video => "video",
        })
    }
}

/// Tokens side by side that stand for what an encoder makes of one [`Patches`].
///
/// That is an image or a video in most families. In others it is one tile of an image, or what was shown at one time of a
/// video, with text of the family's own between the spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaSpan {
    /// Where its placeholders stand in the prompt's ids.
    pub range: Range<usize>,
    /// What it is.
    pub kind: TokenType,
    /// Tokens in time, in height and in width; their product is the length of the range. `[1, 1, n]` where a family does not
    /// lay its tokens out.
    pub grid: [usize; 3],
}

/// The conversation that a prompt was made of: what a model elsewhere, whose server makes prompts itself, is asked.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// Who said and showed what, in order.
    pub messages: Vec<Message>,
    /// How it became text.
    pub layout: Layout,
    /// Words put into the assistant's mouth, after everything else.
    pub prefill: String,
}

/// What a prompt was made of, as far as a model elsewhere wants to know it.
#[derive(Debug, Clone)]
enum Source {
    Conversation(Arc<Conversation>),
    Pictures(Arc<[Picture]>),
}

/// A sample made ready for the model: ids, token types, media spans, patches and positions, made together.
///
/// Nothing can cut it: it is built whole by a [`Processor`](crate::Processor), and it only ever grows at its end.
#[derive(Debug, Clone)]
pub struct Prompt {
    sample: String,
    text: String,
    input_ids: Vec<i64>,
    token_types: Vec<TokenType>,
    media: Vec<MediaSpan>,
    patches: Vec<Arc<Patches>>,
    position_ids: [Vec<i64>; 3],
    next_position: i64,
    media_ids: Arc<[i64]>,
    source: Option<Source>,
}

/// What a prompt is made of: ids with one placeholder a run, and these runs, in order.
pub(crate) struct Ingredients {
    pub(crate) sample: String,
    pub(crate) text: String,
    pub(crate) ids: Vec<i64>,
    pub(crate) pads: Pads,
    pub(crate) runs: Vec<Run>,
    pub(crate) media_ids: Arc<[i64]>,
}

/// The placeholders, where the tokenizer has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pads {
    pub(crate) image: Option<i64>,
    pub(crate) video: Option<i64>,
}

impl Pads {
    /// What an id stands for.
    pub(crate) fn kind(self, id: i64) -> TokenType {
        match Some(id) {
            pad if pad == self.image => TokenType::Image,
            pad if pad == self.video => TokenType::Video,
            _ => TokenType::Text,
        }
    }
}

impl Prompt {
    /// Puts as many placeholders for each run as it has tokens.
    pub(crate) fn new(ingredients: Ingredients) -> Result<Self> {
        let Ingredients { sample, text, ids, pads, runs, media_ids } = ingredients;
        let kinds: Vec<TokenType> = ids.iter().map(|&id| pads.kind(id)).collect();
        let placeholders = kinds.iter().filter(|kind| **kind != TokenType::Text).count();
        if placeholders != runs.len() {
            return Err(Error::Placeholders { sample, kind: TokenType::Image, placeholders, given: runs.len() });
        }
        let mut runs = runs.into_iter();
        let mut input_ids = Vec::with_capacity(ids.len());
        let (mut spans, mut media, mut patches): (Vec<Span>, Vec<MediaSpan>, Vec<_>) = Default::default();
        for (id, kind) in ids.into_iter().zip(kinds) {
            let run = if kind == TokenType::Text { None } else { runs.next() };
            let Some(Run { patches: shown, grid, interval }) = run else {
                input_ids.push(id);
                continue;
            };
            let start = input_ids.len();
            input_ids.extend(std::iter::repeat_n(id, grid.iter().product()));
            let range = start..input_ids.len();
            spans.extend(interval.map(|interval| Span { range: range.clone(), grid, interval }));
            media.push(MediaSpan { range, kind, grid });
            patches.push(shown);
        }
        let mut token_types = vec![TokenType::Text; input_ids.len()];
        media.iter().for_each(|span| token_types[span.range.clone()].fill(span.kind));
        let (position_ids, next_position) = rope_positions(input_ids.len(), &spans);
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
            source: None,
        })
    }

    /// Names the sample in errors and records.
    pub fn sample(&self) -> &str {
        &self.sample
    }

    /// The prompt as text, readable: one placeholder for each span of media.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The conversation that it was made of; nothing where it was made otherwise, or is no longer what that says: it was extended, cut,
    /// or shows something else.
    pub fn conversation(&self) -> Option<&Arc<Conversation>> {
        match &self.source {
            Some(Source::Conversation(conversation)) => Some(conversation),
            _ => None,
        }
    }

    pub(crate) fn with_conversation(self, conversation: Conversation) -> Self {
        Self { source: Some(Source::Conversation(conversation.into())), ..self }
    }

    /// The pictures that its media were made of, in order, as it was [told](Self::with_pictures).
    pub fn pictures(&self) -> Option<&[Picture]> {
        match &self.source {
            Some(Source::Pictures(pictures)) => Some(pictures),
            _ => None,
        }
    }

    /// The same prompt, and of which pictures its media were made: what a model elsewhere is shown beside its ids, where no conversation
    /// says how it came about.
    #[must_use]
    pub fn with_pictures(self, pictures: Vec<Picture>) -> Self {
        Self { source: Some(Source::Pictures(pictures.into())), ..self }
    }

    /// Token ids, as many placeholders for each span of media as it has tokens.
    pub fn input_ids(&self) -> &[i64] {
        &self.input_ids
    }

    /// What each token stands for.
    pub fn token_types(&self) -> &[TokenType] {
        &self.token_types
    }

    /// Where the media's tokens are, in order.
    pub fn media(&self) -> &[MediaSpan] {
        &self.media
    }

    /// The patches of each span, images and videos alike, in the order of [`media`](Self::media).
    pub fn patches(&self) -> &[Arc<Patches>] {
        &self.patches
    }

    /// For each span the tokens that see it, where a model looks at what is shown beside its text: from the span on, until the next
    /// begins; spans side by side are seen as long as the last of them. What is seen at the end is seen by what follows too.
    pub fn seen_by(&self) -> Vec<Range<usize>> {
        let mut seen: Vec<Range<usize>> = Vec::with_capacity(self.media.len());
        let (mut next, mut end) = (None, self.len());
        for span in self.media.iter().rev() {
            end = match next {
                Some(start) if start != span.range.end => start,
                _ => end,
            };
            seen.push(span.range.start..end);
            next = Some(span.range.start);
        }
        seen.reverse();
        seen
    }

    /// Positions in time, height and width, a row each.
    pub fn position_ids(&self) -> &[Vec<i64>; 3] {
        &self.position_ids
    }

    /// The position of the first token after the prompt, the same in all three rows.
    pub fn next_position(&self) -> i64 {
        self.next_position
    }

    /// The same prompt that shows something else, cut as what it shows.
    ///
    /// # Errors
    /// If there is more or less of it, or one is cut in another way.
    pub fn showing(&self, patches: Vec<Arc<Patches>>) -> Result<Self> {
        let fits = |(own, other): (&Arc<Patches>, &Arc<Patches>)| own.is_cut_as(other);
        if patches.len() != self.patches.len() || !self.patches.iter().zip(&patches).all(fits) {
            let reason = "what is to be shown instead is not cut as what it shows".to_owned();
            return Err(Error::Conversation { sample: self.sample.clone(), reason });
        }
        Ok(Self { patches, source: None, ..self.clone() })
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.input_ids.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.input_ids.is_empty()
    }

    /// Refuses a prompt that is longer than `max_tokens`; it is never cut.
    ///
    /// # Errors
    /// When it does not fit; sample and lengths are named.
    pub fn check_fits(&self, max_tokens: usize) -> Result<()> {
        match self.len() <= max_tokens {
            true => Ok(()),
            false => Err(Error::TooLong {
                sample: self.sample.clone(),
                tokens: self.len(),
                media: self.media.iter().map(|span| span.range.len()).sum(),
                max_tokens,
            }),
        }
    }

    /// The prompt with tokens of text after it, as they are: what was sampled is not tokenised again. `text` is what
    /// they read as.
    ///
    /// # Errors
    /// When one of them is a media token, which has no features.
    pub fn extend(&self, ids: &[i64], text: &str) -> Result<Self> {
        if let Some(place) = ids.iter().position(|id| self.media_ids.contains(id)) {
            return Err(Error::MediaToken { sample: self.sample.clone(), id: ids[place], place });
        }
        let mut longer = self.clone();
        longer.push_text(ids, text);
        Ok(longer)
    }

    /// Tokens of text that follow this prompt, as a piece of their own: its positions count from the end of this one.
    ///
    /// # Errors
    /// When one of them is a media token, which has no features.
    pub fn tail(&self, ids: &[i64], text: &str) -> Result<Self> {
        let nothing = Self {
            sample: self.sample.clone(),
            text: String::new(),
            input_ids: Vec::new(),
            token_types: Vec::new(),
            media: Vec::new(),
            patches: Vec::new(),
            position_ids: Default::default(),
            next_position: 0,
            media_ids: self.media_ids.clone(),
            source: None,
        };
        nothing.extend(ids, text)
    }

    /// The prompt in two pieces, the second with positions of its own; `None` where `place` lies inside a piece of media
    /// or beyond the end. The text stays with the first.
    #[must_use]
    pub fn split(&self, place: usize) -> Option<(Self, Self)> {
        if place > self.len() || self.media.iter().any(|span| span.range.start < place && place < span.range.end) {
            return None;
        }
        let spans = self.media.iter().take_while(|span| span.range.start < place).count();
        // What stands at `place` begins where the text before it left off, in all three rows.
        let begins = self.position_ids[0].get(place).copied().unwrap_or(self.next_position);
        let piece = |tokens: Range<usize>, media: Range<usize>, from: i64, next: i64, text: &str| Self {
            sample: self.sample.clone(),
            text: text.into(),
            input_ids: self.input_ids[tokens.clone()].into(),
            token_types: self.token_types[tokens.clone()].into(),
            media: self.media[media.clone()]
                .iter()
                .map(|span| MediaSpan {
                    range: span.range.start - tokens.start..span.range.end - tokens.start,
                    ..span.clone()
                })
                .collect(),
            patches: self.patches[media].into(),
            position_ids: std::array::from_fn(|row| {
                self.position_ids[row][tokens.clone()].iter().map(|position| position - from).collect()
            }),
            next_position: next - from,
            media_ids: self.media_ids.clone(),
            source: None,
        };
        let first = piece(0..place, 0..spans, 0, begins, &self.text);
        let second = piece(place..self.len(), spans..self.media.len(), begins, self.next_position, "");
        Some((first, second))
    }

    fn push_text(&mut self, ids: &[i64], text: &str) {
        let end = self.next_position + ids.len() as i64;
        self.position_ids.iter_mut().for_each(|row| row.extend(self.next_position..end));
        self.next_position = end;
        self.input_ids.extend_from_slice(ids);
        self.token_types.resize(self.input_ids.len(), TokenType::Text);
        self.text.push_str(text);
        self.source = None;
    }

    /// The prompt with another behind it; the other's positions go on from this one's.
    #[must_use]
    pub fn followed_by(&self, other: &Self) -> Self {
        let mut longer = self.clone();
        let (tokens, positions) = (longer.len(), longer.next_position);
        longer.source = None;
        longer.text.push_str(&other.text);
        longer.input_ids.extend_from_slice(&other.input_ids);
        longer.token_types.extend_from_slice(&other.token_types);
        longer.media.extend(
            other
                .media
                .iter()
                .map(|span| MediaSpan { range: span.range.start + tokens..span.range.end + tokens, ..span.clone() }),
        );
        longer.patches.extend(other.patches.iter().cloned());
        for (row, more) in longer.position_ids.iter_mut().zip(&other.position_ids) {
            row.extend(more.iter().map(|position| position + positions));
        }
        longer.next_position = positions + other.next_position;
        longer
    }
}
