use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vr1_processor::{IGNORED, Prompt, Supervised};

use crate::{Error, Result};

/// Which weights: counted from 0, the weights a run began with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version(pub u64);

/// Why a completion ends where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended it.
    Ended,
    /// There was no more room.
    Length,
}

/// What is known of a sequence that an engine sampled.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// The log-probability of each sampled token under the model itself: at temperature 1, over the whole vocabulary.
    pub logprobs: Vec<f32>,
    /// Its log-probability in the distribution that it was drawn from: with temperature, limits and penalties, and what
    /// is never sampled left out. 0 where the likeliest was taken.
    pub drawn: Vec<f32>,
    /// The entropy of the model's distribution where each was sampled, in nats: at temperature 1, over the whole vocabulary. Empty
    /// where the engine does not say.
    pub entropies: Vec<f32>,
    /// The weights that it was sampled with.
    pub version: Version,
    /// Why it ended.
    pub finish: Finish,
}

/// A row: a prompt, what follows it, and which tokens of that are trained on.
///
/// A completion, a document to imitate and one answer of a preference pair are all sequences. What follows the prompt may
/// show media too, a later turn's picture or a tool's; the tokens of media are never trained on.
#[derive(Debug, Clone)]
pub struct Sequence {
    prompt: Arc<Prompt>,
    tail: Arc<Prompt>,
    trained: Vec<bool>,
    sampled: Option<Sampled>,
    text: String,
}

impl Sequence {
    /// A sequence of any kind: `tail` follows `prompt`, with positions that count from the prompt's end; `trained` says of
    /// each of its tokens whether it is trained on.
    ///
    /// # Errors
    /// If the prompt is empty, `trained` has another length than `tail`, or marks a token of media.
    pub fn new(prompt: Arc<Prompt>, tail: Prompt, trained: Vec<bool>, text: String) -> Result<Self> {
        check_prompt(&prompt)?;
        let wrong = |reason: String| Err(Error::Sequence { sample: prompt.sample().into(), reason });
        if trained.len() != tail.len() {
            return wrong(format!("{} marks for {} tokens", trained.len(), tail.len()));
        }
        if let Some(span) = tail.media().iter().find(|span| trained[span.range.clone()].contains(&true)) {
            return wrong(format!("tokens {:?} stand for media and cannot be trained on", span.range));
        }
        Ok(Self { prompt, tail: tail.into(), trained, sampled: None, text })
    }

    /// What an engine sampled after `prompt`, reading `text`; every token is trained on.
    ///
    /// # Errors
    /// As [`new`](Self::new), if one of `ids` is a media token, or the log-probabilities or entropies are not as many.
    pub fn completion(prompt: Arc<Prompt>, ids: &[i64], text: String, sampled: Sampled) -> Result<Self> {
        let tail = prompt.tail(ids, &text)?;
        Self::new(prompt, tail, vec![true; ids.len()], text)?.with_sampled(sampled)
    }

    /// The same sequence whose trained tokens an engine sampled.
    ///
    /// # Errors
    /// If the log-probabilities or entropies are not as many.
    pub fn with_sampled(self, sampled: Sampled) -> Result<Self> {
        let tokens = self.trained_tokens();
        let wrong = |reason: String| Err(Error::Sequence { sample: self.prompt.sample().into(), reason });
        let [own, drawn] = [&sampled.logprobs, &sampled.drawn].map(Vec::len);
        if [own, drawn].iter().any(|count| *count != tokens) {
            return wrong(format!("{own} and {drawn} log-probabilities for {tokens} sampled tokens"));
        }
        if ![0, tokens].contains(&sampled.entropies.len()) {
            return wrong(format!("{} entropies for {tokens} sampled tokens", sampled.entropies.len()));
        }
        Ok(Self { sampled: Some(sampled), ..self })
    }

    /// A document to imitate: everything before its first learnt token is the prompt.
    ///
    /// The first token follows nothing, and is not learnt whatever its label says.
    ///
    /// # Errors
    /// If nothing of it is learnt, or its labels are not of its tokens or stand among those of media.
    pub fn document(supervised: &Supervised) -> Result<Self> {
        let Supervised { prompt, labels } = supervised;
        let wrong = |reason: &str| Error::Sequence { sample: prompt.sample().into(), reason: reason.into() };
        if labels.len() != prompt.len() {
            return Err(wrong(&format!("{} labels for {} tokens", labels.len(), prompt.len())));
        }
        let strange = |(label, id): (&i64, &i64)| *label != IGNORED && label != id;
        if let Some(place) = labels.iter().zip(prompt.input_ids()).position(strange) {
            return Err(wrong(&format!("the label {} at {place} is not the token there", labels[place])));
        }
        let first = labels.iter().skip(1).position(|label| *label != IGNORED).map(|place| place + 1);
        let first = first.ok_or_else(|| wrong("not one of its tokens is to be learnt"))?;
        let last = labels.iter().rposition(|label| *label != IGNORED).unwrap_or(first);
        let whole = match prompt.split(last + 1) {
            Some((until, _)) => until,
            None => return Err(wrong("a learnt token stands among those of a picture")),
        };
        let (before, tail) =
            whole.split(first).ok_or_else(|| wrong("a learnt token stands among those of a picture"))?;
        let trained = labels[first..=last].iter().map(|label| *label != IGNORED).collect();
        Self::new(before.into(), tail, trained, String::new())
    }

    /// The prompt, shared by the group.
    pub fn prompt(&self) -> &Arc<Prompt> {
        &self.prompt
    }

    /// What follows the prompt; its positions count from the prompt's end.
    pub fn tail(&self) -> &Prompt {
        &self.tail
    }

    /// The ids that follow the prompt.
    pub fn ids(&self) -> &[i64] {
        self.tail.input_ids()
    }

    /// Which of the tail's tokens are trained on.
    pub fn trained(&self) -> &[bool] {
        &self.trained
    }

    /// How many tokens are trained on.
    pub fn trained_tokens(&self) -> usize {
        self.trained.iter().filter(|trained| **trained).count()
    }

    /// What the engine said, where an engine sampled it: one entry a trained token.
    pub fn sampled(&self) -> Option<&Sampled> {
        self.sampled.as_ref()
    }

    /// The tail as text, special tokens left out.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it came to an end by itself; what nobody sampled did.
    pub fn finished(&self) -> bool {
        self.sampled.as_ref().is_none_or(|sampled| sampled.finish == Finish::Ended)
    }

    /// The same sequence behind the same prompt held elsewhere: what makes answers that were written apart one group.
    ///
    /// # Errors
    /// If the prompts are not the same tokens and media.
    pub fn with_prompt(self, prompt: &Arc<Prompt>) -> Result<Self> {
        let own = &self.prompt;
        let alike = own.input_ids() == prompt.input_ids() && own.position_ids() == prompt.position_ids();
        if !alike || own.patches() != prompt.patches() {
            let reason = "the prompts of one group differ".to_owned();
            return Err(Error::Sequence { sample: prompt.sample().into(), reason });
        }
        Ok(Self { prompt: prompt.clone(), ..self })
    }

    /// The sequence with further tokens behind it, which are not trained on: what a tool returned, a later turn. `text` is what they read as.
    #[must_use]
    pub fn followed_by(mut self, shown: &Prompt, text: &str) -> Self {
        self.trained.resize(self.trained.len() + shown.len(), false);
        self.text.push_str(text);
        self.tail = self.tail.followed_by(shown).into();
        self
    }

    /// The sequence with what was sampled after it: `more` completes a prompt of this sequence's prompt and tail, and its tokens are
    /// trained on as they are there. Of the two versions the older is kept.
    ///
    /// # Errors
    /// If nobody sampled one of the two, or `more` follows something else.
    pub fn then(mut self, more: &Self) -> Result<Self> {
        let wrong = |reason: &str| Error::Sequence { sample: self.prompt.sample().into(), reason: reason.into() };
        let (before, after) = (self.prompt.input_ids(), more.prompt.input_ids());
        if after.len() != before.len() + self.tail.len() || !after.starts_with(before) || !after.ends_with(self.ids()) {
            return Err(wrong("what was sampled further follows other tokens"));
        }
        let (Some(first), Some(second)) = (&self.sampled, &more.sampled) else {
            return Err(wrong("what is put together was not sampled"));
        };
        let both = |of: fn(&Sampled) -> &Vec<f32>| [of(first).as_slice(), of(second)].concat();
        let entropies = if [first, second].iter().any(|sampled| sampled.entropies.is_empty()) {
            Vec::new()
        } else {
            both(|sampled| &sampled.entropies)
        };
        self.sampled = Some(Sampled {
            logprobs: both(|sampled| &sampled.logprobs),
            drawn: both(|sampled| &sampled.drawn),
            entropies,
            version: first.version.min(second.version),
            finish: second.finish,
        });
        self.trained.extend_from_slice(&more.trained);
        self.tail = self.tail.followed_by(&more.tail).into();
        self.text.push_str(&more.text);
        Ok(self)
    }
}

/// Checks that there is something which a first token follows.
pub(crate) fn check_prompt(prompt: &Prompt) -> Result<()> {
    match prompt.is_empty() {
        false => Ok(()),
        true => {
            let reason = "a prompt without a token: there is nothing that the first token follows".into();
            Err(Error::Sequence { sample: prompt.sample().into(), reason })
        }
    }
}
