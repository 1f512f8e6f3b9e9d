use crate::processor::Processor;
use crate::{Ending, Error, Message, Prompt, PromptRequest, Result, Role, TokenType};

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
    /// answer are those of the prompt it would be sampled from. An answer ends with the first special token after
    /// it (`<|im_end|>`), which is learnt too.
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt); when there is no assistant's turn; and when the template changes what stands before an answer
    /// once the answer is there.
    pub fn supervised(&self, sample: &str, messages: &[Message], mask: Mask) -> Result<Supervised> {
        let template = self.template()?;
        let whole = template.render(messages, Ending::Closed, self.tokenizer())?;
        let mut ids = Vec::new();
        let mut learnt = Vec::new();
        let mut at = 0;
        for (turn, _) in messages.iter().enumerate().filter(|(_, message)| message.role == Role::Assistant) {
            let before = template.render(&messages[..turn], Ending::Open, self.tokenizer())?;
            let through = template.render(&messages[..=turn], Ending::Closed, self.tokenizer())?;
            if !through.text().starts_with(before.text()) || !whole.text().starts_with(through.text()) {
                let reason = format!("the chat template renders what is before turn {turn} otherwise once it is there");
                return Err(Error::Conversation { sample: sample.into(), reason });
            }
            let (start, end) = (before.text().len(), through.text().len());
            ids.extend(self.tokenizer().encode(&whole.slice(at..start))?);
            let answer = self.tokenizer().encode(&whole.slice(start..end))?;
            let special = answer.iter().rposition(|&id| self.tokenizer().is_special(id));
            learnt.push(ids.len()..ids.len() + special.map_or(answer.len(), |place| place + 1));
            ids.extend(answer);
            at = end;
        }
        if learnt.is_empty() {
            let reason = "no assistant's turn to learn from".into();
            return Err(Error::Conversation { sample: sample.into(), reason });
        }
        ids.extend(self.tokenizer().encode(&whole.slice(at..whole.text().len()))?);
        let marked = ids.iter().enumerate().map(|(i, _)| learnt.iter().any(|range| range.contains(&i))).collect();
        self.labelled(sample, whole.text(), ids, marked, messages, mask)
    }

    /// A prompt of either layout with the words that should follow it; those and the token that ends them are learnt
    /// (with [`Mask::All`], the prompt's text too).
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt), and when the tokenizer knows no token that ends a text.
    pub fn supervised_target(&self, request: &PromptRequest<'_>, target: &str, mask: Mask) -> Result<Supervised> {
        let Some(&eos) = self.tokenizer().eos().first() else {
            return Err(Error::MissingToken {
                origin: self.tokenizer().origin().into(),
                token: "eos_token".into(),
                needed_for: "a target to learn",
            });
        };
        let prompt = self.prompt(request)?;
        let mut answer = self.tokenizer().encode_words(target)?;
        answer.push(eos);
        let name = self.tokenizer().token(eos).unwrap_or_default();
        let from = prompt.len();
        let prompt = prompt.extend(&answer, &format!("{target}{name}"))?;
        let labels = labels(&prompt, mask, |place| place >= from);
        Ok(Supervised { prompt, labels })
    }

    fn labelled(
        &self,
        sample: &str,
        text: &str,
        ids: Vec<i64>,
        learnt: Vec<bool>,
        messages: &[Message],
        mask: Mask,
    ) -> Result<Supervised> {
        let pads = self.pads();
        let singles: Vec<i64> = ids.clone();
        let prompt = self.assemble(sample, text, ids, messages)?;
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
