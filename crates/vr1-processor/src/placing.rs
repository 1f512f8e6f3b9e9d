use std::collections::VecDeque;

use crate::media::{Piece, Run};
use crate::rendered::Rendered;
use crate::{Error, Result, TokenType, Tokenizer};

/// What is shown on its way to its places in a text, each kind in its order.
pub(crate) struct Placing<'a, R = Run> {
    sample: &'a str,
    /// What marks the place of an image and of a video.
    markers: [&'static str; 2],
    waiting: [VecDeque<Piece<R>>; 2],
    /// How many markers there were of each kind, and how many pieces.
    counts: [(usize, usize); 2],
    placed: Vec<R>,
}

const KINDS: [TokenType; 2] = [TokenType::Image, TokenType::Video];

impl<'a, R> Placing<'a, R> {
    pub(crate) fn new(
        sample: &'a str,
        tokenizer: &Tokenizer,
        pieces: impl Iterator<Item = (TokenType, Piece<R>)>,
    ) -> Result<Self> {
        let family = tokenizer.family();
        let tokens = [family.image, family.video];
        // What the vocabulary lacks marks nothing, and is in anyone's words what it is.
        let marks = |token: &&'static str| tokenizer.id(token).is_some() || family.spelt.contains(token);
        let markers = tokens.map(|token| Some(token).filter(marks).unwrap_or_default());
        let mut waiting = [VecDeque::new(), VecDeque::new()];
        for (kind, piece) in pieces {
            for (token, needed_for) in tokens.into_iter().zip(["an image", "a video"]) {
                if !token.is_empty() && piece.text.contains(token) {
                    tokenizer.require(token, needed_for)?;
                }
            }
            waiting[usize::from(kind == TokenType::Video)].push_back(piece);
        }
        let counts = [0, 1].map(|which: usize| (0, waiting[which].len()));
        Ok(Self { sample, markers, waiting, counts, placed: Vec::new() })
    }

    pub(crate) fn sample(&self) -> &str {
        self.sample
    }

    /// The text with what stands for each piece in the place of its marker; the next text gets the pieces after these.
    pub(crate) fn place(&mut self, rendered: &Rendered) -> Rendered {
        rendered.replaced(self.markers, |which| {
            self.counts[which].0 += 1;
            let Piece { text, runs } = self.waiting[which].pop_front()?;
            self.placed.extend(runs);
            Some(text)
        })
    }

    /// The runs in the order of their placeholders, where every piece found its place and every place its piece.
    pub(crate) fn runs(self) -> Result<Vec<R>> {
        for (kind, (placeholders, given)) in KINDS.into_iter().zip(self.counts) {
            if placeholders != given {
                return Err(Error::Placeholders { sample: self.sample.into(), kind, placeholders, given });
            }
        }
        Ok(self.placed)
    }
}
