use super::processor::Processor;
use crate::placing::Placing;
use crate::{Ending, Error, Layout, Message, Prompt, PromptRequest, Result, Role, TokenType, Voice};

/// What a label is where nothing is to be learnt.
pub const IGNORED: i64 = -100;

/// Which tokens of a conversation are learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mask {
    /// The assistant's answers, each with the token that ends it.
    #[default]
    Assistant,
    /// All text: everything but media placeholders.
    All,
}

/// A conversation with its answers, and what is to be learnt of it.
#[derive(Debug, Clone)]
pub struct Supervised {
    /// The whole conversation; it has no open turn at its end.
    pub prompt: Prompt,
    /// For each token its id where it is learnt and [`IGNORED`] elsewhere; a token is not shifted against its label.
    pub labels: Vec<i64>,
}

impl Processor {
    /// A conversation of the chat layout to learn from.
    ///
    /// The text is cut where an answer begins, as it is when the model speaks there itself; so the ids before an
    /// answer are those of the prompt it would be sampled from. An answer ends with the token that ends its
    /// turn (`<|im_end|>`), which is learnt too.
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt); when there is no assistant's turn; and when the template changes what stands before an answer
    /// once the answer is there.
    pub fn supervised(&self, sample: &str, messages: &[Message], mask: Mask) -> Result<Supervised> {
        let mut placing = self.placing(sample, messages)?;
        let (text, ids, learnt) = self.spoken(sample, messages, 0, &mut placing)?;
        self.labelled(placing, &text, ids, learnt, mask)
    }

    /// The answers that follow a prompt of `before`: their tokens as one piece of text behind it, and which of them are
    /// learnt. What stands between two answers is not.
    ///
    /// In the raw layout there is one answer, which the tokenizer's end token ends.
    ///
    /// # Errors
    /// As [`supervised`](Self::supervised) and [`supervised_target`](Self::supervised_target); when an answer shows media.
    pub fn answers(
        &self,
        before: &PromptRequest<'_>,
        prompt: &Prompt,
        answers: &[Message],
    ) -> Result<(Prompt, Vec<bool>)> {
        let refuse = |reason: &str| Err(Error::Conversation { sample: before.sample.into(), reason: reason.into() });
        if answers.iter().any(Message::has_media) {
            return refuse("an answer shows a picture or a video, which nobody can say");
        }
        let (text, ids, learnt) = match before.layout {
            Layout::Chat => {
                if !before.prefill.is_empty() {
                    return refuse(
                        "an answer in the chat layout begins with the assistant's turn; there is no prefill",
                    );
                }
                let messages: Vec<Message> = before.messages.iter().chain(answers).cloned().collect();
                let mut placing = self.placing(before.sample, &[])?;
                self.spoken(before.sample, &messages, before.messages.len(), &mut placing)?
            }
            Layout::Raw => {
                let [answer] = answers else { return refuse("the raw layout takes one answer") };
                let (text, ids) = self.ended(&answer.words())?;
                let learnt = vec![true; ids.len()];
                (text, ids, learnt)
            }
        };
        Ok((prompt.tail(&ids, &text)?, learnt))
    }

    /// What is said from turn `first` on: the text, its tokens, and which of these are an answer's. What is before is
    /// rendered as a prompt that is open for an answer; with `first` 0 there is nothing before.
    pub(crate) fn spoken<R>(
        &self,
        sample: &str,
        messages: &[Message],
        first: usize,
        placing: &mut Placing<'_, R>,
    ) -> Result<(String, Vec<i64>, Vec<bool>)> {
        let template = self.template_of(messages)?;
        let whole = template.render(messages, Ending::Closed, self.tokenizer())?;
        let begin = match first {
            0 => 0,
            turns => template.render(&messages[..turns], Ending::Open, self.tokenizer())?.text().len(),
        };
        let (mut text, mut at) = (String::new(), begin);
        let mut ids = match first {
            0 => self.leading_ids(&whole, Layout::Chat)?,
            _ => Vec::new(),
        };
        let mut learnt = vec![false; ids.len()];
        let mut encode = |from: usize, to: usize| {
            let placed = placing.place(&whole.slice(from..to));
            text.push_str(placed.text());
            self.tokenizer().encode(&placed)
        };
        let answers = messages.iter().enumerate().skip(first).filter(|(_, message)| message.role == Role::Assistant);
        for (turn, _) in answers {
            let before = template.render(&messages[..turn], Ending::Open, self.tokenizer())?;
            let through = template.render(&messages[..=turn], Ending::Closed, self.tokenizer())?;
            if !through.text().starts_with(before.text()) || !whole.text().starts_with(through.text()) {
                let reason = format!("the chat template renders what is before turn {turn} otherwise once it is there");
                return Err(Error::Conversation { sample: sample.into(), reason });
            }
            let (start, end) = (before.text().len(), through.text().len());
            ids.extend(encode(at, start)?);
            learnt.resize(ids.len(), false);
            let answer = encode(start, end)?;
            let last = answer.iter().rposition(|&id| self.tokenizer().is_control(id));
            learnt.resize(ids.len() + last.map_or(answer.len(), |place| place + 1), true);
            ids.extend(answer);
            learnt.resize(ids.len(), false);
            at = end;
        }
        if !learnt.contains(&true) {
            let reason = "no assistant's turn to learn from".into();
            return Err(Error::Conversation { sample: sample.into(), reason });
        }
        ids.extend(encode(at, whole.text().len())?);
        learnt.resize(ids.len(), false);
        Ok((text, ids, learnt))
    }

    /// Words and the token that ends them, once.
    pub(crate) fn ended(&self, words: &str) -> Result<(String, Vec<i64>)> {
        let Some(&eos) = self.tokenizer().eos().first() else {
            return Err(Error::MissingToken {
                origin: self.tokenizer().origin().into(),
                token: "eos_token".into(),
                needed_for: "a target to learn",
            });
        };
        let mut ids = self.tokenizer().encode_words(words, Voice::Model)?;
        if ids.last() == Some(&eos) {
            return Ok((words.to_owned(), ids));
        }
        ids.push(eos);
        Ok((format!("{words}{}", self.tokenizer().token(eos).unwrap_or_default()), ids))
    }

    /// A prompt of either layout with the words that should follow it; those and the token that ends them are learnt
    /// (with [`Mask::All`], the prompt's text too).
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt), and when the tokenizer knows no token that ends a text.
    pub fn supervised_target(&self, request: &PromptRequest<'_>, target: &str, mask: Mask) -> Result<Supervised> {
        let (text, answer) = self.ended(target)?;
        let prompt = self.prompt(request)?;
        let from = prompt.len();
        let prompt = prompt.extend(&answer, &text)?;
        let labels = labels(&prompt, mask, |place| place >= from);
        Ok(Supervised { prompt, labels })
    }

    fn labelled(
        &self,
        placing: Placing<'_>,
        text: &str,
        ids: Vec<i64>,
        learnt: Vec<bool>,
        mask: Mask,
    ) -> Result<Supervised> {
        let pads = self.pads();
        let singles: Vec<i64> = ids.clone();
        let prompt = self.assemble(placing, text, ids)?;
        // One entry for each token after the placeholders were multiplied.
        let mut spans = prompt.media().iter();
        let mut wide = Vec::with_capacity(prompt.len());
        for (id, learnt) in singles.iter().zip(learnt) {
            let span = if pads.kind(*id) == TokenType::Text { None } else { spans.next() };
            let copies = span.map_or(1, |span| span.range.len());
            wide.extend(std::iter::repeat_n(learnt, copies));
        }
        let labels = labels(&prompt, mask, |place| wide[place]);
        Ok(Supervised { prompt, labels })
    }
}

fn labels(prompt: &Prompt, mask: Mask, answer: impl Fn(usize) -> bool) -> Vec<i64> {
    let tokens = prompt.input_ids().iter().zip(prompt.token_types()).enumerate();
    tokens
        .map(|(place, (&id, &kind))| match kind == TokenType::Text && (mask == Mask::All || answer(place)) {
            true => id,
            false => IGNORED,
        })
        .collect()
}
