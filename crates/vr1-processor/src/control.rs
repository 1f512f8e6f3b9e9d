use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value};
use tokenizers::tokenizer::{OffsetReferential, OffsetType};

use crate::Tokenizer;
use crate::family::Family;

/// Whose words a text is; it decides which of the tokenizer's added tokens they spell.
///
/// What says who speaks, where a turn ends and where something is shown comes from a chat template and from parts of
/// other kinds alone. Every other added token (`<|box_start|>`, `<think>`, `<tool_call>`), special or not, is that token
/// in anyone's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// Someone who asks, instructs or answers for a tool, and what a tool is called with: roles, ends and media are text.
    User,
    /// The model: roles and media are text, and an end is the token that it ends by.
    Model,
}

/// The ids of added tokens that not everyone's words spell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Control {
    /// Roles and media: nobody's.
    unsaid: BTreeSet<u32>,
    /// What ends a turn: the model's alone.
    ends: BTreeSet<u32>,
    /// How these are written.
    texts: Vec<String>,
    /// Whether one of them is looked for in normalised text.
    normalized: bool,
    /// What stands for media before its tokens are put there, where that is no token itself.
    markers: Vec<&'static str>,
}

impl Control {
    /// What the family and `tokenizer_config.json` name, and the ends.
    pub(crate) fn of(inner: &tokenizers::Tokenizer, config: &Map<String, Value>, family: &Family, eos: &[i64]) -> Self {
        let named = |key: &str| config.get(key).and_then(token_name);
        let ids = |names: &mut dyn Iterator<Item = &str>| names.filter_map(|name| inner.token_to_id(name)).collect();
        let mut control = Self {
            unsaid: ids(&mut family.unsaid.iter().chain(family.roles).copied().chain(named("bos_token"))),
            ends: ids(&mut family.ends.iter().copied().chain(named("eos_token"))),
            markers: family.spelt.iter().copied().filter(|marker| inner.token_to_id(marker).is_none()).collect(),
            ..Self::default()
        };
        control.add(inner, &BTreeSet::new(), &eos.iter().filter_map(|&id| u32::try_from(id).ok()).collect());
        control
    }

    /// Adds roles and ends; what ends a turn is no role.
    pub(crate) fn add(&mut self, inner: &tokenizers::Tokenizer, roles: &BTreeSet<u32>, ends: &BTreeSet<u32>) {
        self.ends.extend(ends.difference(&self.unsaid).copied().collect::<Vec<_>>());
        self.unsaid.extend(roles);
        self.unsaid.retain(|id| !self.ends.contains(id));
        let added = inner.get_added_tokens_decoder();
        let tokens: Vec<_> = self.unsaid.union(&self.ends).filter_map(|id| added.get(id)).collect();
        self.normalized = tokens.iter().any(|token| token.normalized);
        self.texts = tokens.into_iter().map(|token| token.content.clone()).collect();
    }

    fn holds(&self, id: u32, voice: Voice) -> bool {
        self.unsaid.contains(&id) || (voice == Voice::User && self.ends.contains(&id))
    }
}

/// A token's text, written plainly or as an object with `content`.
pub(crate) fn token_name(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

impl Tokenizer {
    /// Whether an id says who speaks, ends a turn or stands for media.
    pub(crate) fn is_control(&self, id: i64) -> bool {
        u32::try_from(id).is_ok_and(|id| self.control.holds(id, Voice::User))
    }

    /// The added tokens that a text spells, as the tokenizer finds them.
    pub(crate) fn added_in(&self, text: &str) -> Vec<(Range<usize>, u32)> {
        let pieces = self.inner.get_added_vocabulary().extract_and_normalize(self.inner.get_normalizer(), text);
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        let token = |(_, (start, end), tokens): (&str, (usize, usize), &Option<Vec<tokenizers::Token>>)| {
            Some((start..end, tokens.as_ref()?.first()?.id))
        };
        splits.into_iter().filter_map(token).filter(|(range, _)| !range.is_empty()).collect()
    }

    /// Where words spell a token that they are not: the places that are text.
    pub(crate) fn literals(&self, words: &[(&str, Voice)]) -> Vec<Range<usize>> {
        let text: String = words.iter().map(|(text, _)| *text).collect();
        let control = &self.control;
        let mut markers: Vec<Range<usize>> = Vec::new();
        for marker in &control.markers {
            markers.extend(text.match_indices(marker).map(|(at, _)| at..at + marker.len()));
        }
        if markers.is_empty() && !control.normalized && !control.texts.iter().any(|token| text.contains(token)) {
            return Vec::new();
        }
        let mut ends = 0;
        let voices: Vec<(usize, Voice)> = words
            .iter()
            .map(|(text, voice)| {
                ends += text.len();
                (ends, *voice)
            })
            .collect();
        // What two spell together is whose it begins with.
        let voice = |start: usize| voices.iter().find(|(end, _)| start < *end).map_or(Voice::User, |(_, voice)| *voice);
        let found = self.added_in(&text).into_iter();
        let found = found.filter(|(range, id)| control.holds(*id, voice(range.start))).map(|(range, _)| range);
        let mut places: Vec<Range<usize>> = found.collect();
        markers.retain(|marker| places.iter().all(|place| marker.end <= place.start || place.end <= marker.start));
        places.extend(markers);
        places.sort_by_key(|place| place.start);
        places
    }
}
