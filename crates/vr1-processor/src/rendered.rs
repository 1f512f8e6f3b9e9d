use std::ops::Range;

use crate::{Tokenizer, Voice};

/// A prompt as text, with the places where words spell a role, an end or media ([`Voice`]).
///
/// Tokenised, those places are plain text; an added token elsewhere is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    text: String,
    literals: Vec<Range<usize>>,
}

impl Rendered {
    /// The whole text, readable.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Byte ranges of the text in which words spell a token that they are not, in order.
    pub fn literals(&self) -> &[Range<usize>] {
        &self.literals
    }

    /// Adds text whose special tokens are meant.
    pub(crate) fn push_markup(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds words that stand side by side; what two of them spell together is the first one's.
    pub(crate) fn push_words(&mut self, words: &[(&str, Voice)], tokenizer: &Tokenizer) {
        let offset = self.text.len();
        self.literals
            .extend(tokenizer.literals(words).into_iter().map(|range| range.start + offset..range.end + offset));
        self.text.extend(words.iter().map(|(text, _)| *text));
    }

    pub(crate) fn push_literal(&mut self, text: &str) {
        self.literals.push(self.text.len()..self.text.len() + text.len());
        self.text.push_str(text);
    }

    /// The text with something else in the place of markers that are meant: what `instead` says for the one of that place in
    /// `markers`, or the marker as it is.
    pub(crate) fn replaced(&self, markers: [&str; 2], mut instead: impl FnMut(usize) -> Option<String>) -> Self {
        let mut out = Self::default();
        for (text, run) in self.runs() {
            if run == Run::Literal {
                out.push_literal(text);
                continue;
            }
            let mut rest = text;
            let next = |rest: &str| {
                let found = |which: usize| rest.find(markers[which]).map(|at| (at, which));
                (0..markers.len()).filter(|which| !markers[*which].is_empty()).filter_map(found).min()
            };
            while let Some((at, which)) = next(rest) {
                out.push_markup(&rest[..at]);
                let marker = markers[which];
                out.push_markup(instead(which).as_deref().unwrap_or(marker));
                rest = &rest[at + marker.len()..];
            }
            out.push_markup(rest);
        }
        out
    }

    /// The part of the text in a byte range; a literal must lie inside or outside of it.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let inside = |literal: &&Range<usize>| range.start <= literal.start && literal.end <= range.end;
        let shift = |literal: &Range<usize>| literal.start - range.start..literal.end - range.start;
        Self {
            text: self.text[range.clone()].into(),
            literals: self.literals.iter().filter(inside).map(shift).collect(),
        }
    }

    /// Runs of text in order, each with whether it is a literal.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (&str, Run)> {
        let mut cuts = Vec::with_capacity(2 * self.literals.len() + 1);
        let mut at = 0;
        for literal in &self.literals {
            cuts.push((at..literal.start, Run::Text));
            cuts.push((literal.clone(), Run::Literal));
            at = literal.end;
        }
        cuts.push((at..self.text.len(), Run::Text));
        cuts.into_iter().filter(|(range, _)| !range.is_empty()).map(|(range, run)| (&self.text[range], run))
    }
}

/// How a run of rendered text is tokenised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// As the tokenizer does it, added tokens recognised.
    Text,
    /// As plain text throughout.
    Literal,
}
