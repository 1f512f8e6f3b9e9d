//! How many tokens a prompt has, from the heights and widths of what it shows: nothing is decoded.

use vr1_data::{Picture, Said, Sample};

use crate::media::{Extent, counted};
use crate::placing::Placing;
use crate::{Error, Layout, Message, Processor, PromptRequest, Result, TokenType};

/// How many tokens a prompt has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenCount {
    /// Tokens of text: words, roles, and what a family puts around and between pictures.
    pub text: usize,
    /// Tokens that stand for what an encoder makes of pictures and videos.
    pub media: usize,
    /// Patches that the encoder is shown for them.
    pub patches: usize,
}

impl TokenCount {
    /// All tokens, which is how long the prompt is.
    #[must_use]
    pub fn total(&self) -> usize {
        self.text + self.media
    }
}

impl Processor {
    /// How many tokens the [prompt](Self::prompt) of this request has: the same text, tokenised, and the same arithmetic of
    /// picture sizes, which `sides` gives as width and height. Of pictures nothing else is asked, of the files of videos their
    /// number of frames and the first that is taken.
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt), except that what is wrong with pixels goes unnoticed.
    pub fn count(
        &self,
        request: &PromptRequest<'_>,
        sides: &dyn Fn(&Picture) -> vr1_data::Result<(u32, u32)>,
    ) -> Result<TokenCount> {
        let rendered = self.render(request)?;
        let mut placing = self.counting(request.sample, request.messages, sides)?;
        let rendered = placing.place(&rendered);
        let mut ids = self.leading_ids(&rendered, request.layout)?;
        ids.extend(self.tokenizer().encode(&rendered)?);
        self.counted(placing, &ids)
    }

    /// The same of a prompt of one turn about a sample, which [`said`](Self::said) makes.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn count_said(
        &self,
        sample: &Sample,
        said: &Said,
        layout: Layout,
        prefill: &str,
        sides: &dyn Fn(&Picture) -> vr1_data::Result<(u32, u32)>,
    ) -> Result<TokenCount> {
        let messages = [Message::said(said, sample)];
        self.count(&PromptRequest { sample: &sample.id, messages: &messages, layout, prefill }, sides)
    }

    /// The tokens of a conversation with its answers, which [`supervised`](Self::supervised) makes, and how many of them are the
    /// assistant's.
    ///
    /// # Errors
    /// As [`supervised`](Self::supervised), except that what is wrong with pixels goes unnoticed.
    pub fn count_supervised(
        &self,
        sample: &str,
        messages: &[Message],
        sides: &dyn Fn(&Picture) -> vr1_data::Result<(u32, u32)>,
    ) -> Result<(TokenCount, usize)> {
        let mut placing = self.counting(sample, messages, sides)?;
        let (_, ids, learnt) = self.spoken(sample, messages, 0, &mut placing)?;
        let learnt = learnt.iter().filter(|learnt| **learnt).count();
        Ok((self.counted(placing, &ids)?, learnt))
    }

    /// How many tokens words become in the model's own mouth, with the token that ends them.
    ///
    /// # Errors
    /// When the tokenizer cannot read them, or knows no token that ends a text.
    pub fn count_target(&self, words: &str) -> Result<usize> {
        Ok(self.ended(words)?.1.len())
    }

    fn counting<'a>(
        &'a self,
        sample: &'a str,
        messages: &[Message],
        sides: &dyn Fn(&Picture) -> vr1_data::Result<(u32, u32)>,
    ) -> Result<Placing<'a, Extent>> {
        self.placing_by(sample, messages, |shows, shown| counted(shows, sample, shown, sides))
    }

    fn counted(&self, placing: Placing<'_, Extent>, ids: &[i64]) -> Result<TokenCount> {
        let (sample, pads) = (placing.sample().to_owned(), self.pads());
        let extents = placing.runs()?;
        let placeholders = ids.iter().filter(|id| pads.kind(**id) != TokenType::Text).count();
        if placeholders != extents.len() {
            return Err(Error::Placeholders { sample, kind: TokenType::Image, placeholders, given: extents.len() });
        }
        let sum = |of: fn(&Extent) -> usize| extents.iter().map(of).sum();
        Ok(TokenCount {
            text: ids.len() - placeholders,
            media: sum(|extent| extent.tokens),
            patches: sum(|extent| extent.patches),
        })
    }
}
