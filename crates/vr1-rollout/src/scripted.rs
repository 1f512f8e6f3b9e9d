use std::collections::VecDeque;

use vr1_processor::{Specials, Tokenizer, Voice};

use crate::{Engine, Error, Finish, Group, Request, Result, Sampled, Sequence, Ticket, Version, Weights};

/// An engine that answers by a script: for tests of what stands above an engine, and for rollouts that were made elsewhere.
///
/// An answer that ends with the tokenizer's end token has ended; another is one that had no more room. Its tokens are
/// certain: their log-probabilities are 0.
///
/// # Example
/// ```
/// use vr1_processor::{Layout, Message, Processor, PromptRequest, Role, Tokenizer};
/// use vr1_rollout::{Engine, Request, SampleKey, Sampling, Scripted};
///
/// let tokenizer = Tokenizer::train(["Two and two are four."].map(String::from).into_iter(), 290)?;
/// let processor = Processor::new(tokenizer.clone(), None, None, "example".as_ref())?;
/// let messages = [Message::text(Role::User, "Two and two?")];
/// let request = PromptRequest { sample: "s", messages: &messages, layout: Layout::Raw, prefill: "" };
/// let prompt = processor.prompt(&request)?;
///
/// let mut engine = Scripted::new(tokenizer, |_, completion| Some(["four", "five"][completion].to_owned()));
/// let requests = vec![Request::new(prompt, 2, Sampling::default(), SampleKey::default())];
/// let groups = engine.generate(requests)?;
/// assert_eq!(groups[0].sequences()[1].text(), "five");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Scripted<F> {
    tokenizer: Tokenizer,
    answer: F,
    queue: VecDeque<(Ticket, Request)>,
    submitted: u64,
    version: Version,
}

impl<F: FnMut(&Request, usize) -> Option<String>> Scripted<F> {
    /// An engine that gives `answer(request, completion)`; `None` where there is none is an error that names the sample.
    pub fn new(tokenizer: Tokenizer, answer: F) -> Self {
        Self { tokenizer, answer, queue: VecDeque::new(), submitted: 0, version: Version(0) }
    }

    fn sequence(&mut self, request: &Request, completion: usize) -> Result<Sequence> {
        let none = || Error::NoAnswer { sample: request.prompt.sample().into(), completion };
        let words = (self.answer)(request, completion).ok_or_else(none)?;
        let end = self.tokenizer.eos().first().copied();
        let name = end.and_then(|id| self.tokenizer.token(id));
        let (words, end) = match name.as_deref().and_then(|name| words.strip_suffix(name)) {
            Some(before) => (before.to_owned(), end),
            None => (words, None),
        };
        // A completion stops at its end: one within the words is text.
        let mut ids = self.tokenizer.encode_words(&words, Voice::User)?;
        ids.extend(end);
        ids.truncate(request.sampling.max_completion_tokens);
        let ended = ids.last().is_some_and(|last| self.tokenizer.eos().contains(last));
        let sampled = Sampled {
            logprobs: vec![0.0; ids.len()],
            drawn: vec![0.0; ids.len()],
            entropies: vec![0.0; ids.len()],
            version: self.version,
            finish: if ended { Finish::Ended } else { Finish::Length },
        };
        let text = self.tokenizer.decode(&ids, Specials::Skip)?;
        Sequence::completion(request.prompt.clone(), &ids, text, sampled)
    }
}

impl<F> std::fmt::Debug for Scripted<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripted").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}

impl<F: FnMut(&Request, usize) -> Option<String>> Engine for Scripted<F> {
    fn submit(&mut self, request: Request) -> Result<Ticket> {
        request.validate()?;
        let ticket = Ticket(self.submitted);
        self.submitted += 1;
        self.queue.push_back((ticket, request));
        Ok(ticket)
    }

    fn poll(&mut self) -> Result<Vec<(Ticket, Group)>> {
        let Some((ticket, request)) = self.queue.pop_front() else { return Ok(Vec::new()) };
        let sequences = (0..request.completions).map(|i| self.sequence(&request, i)).collect::<Result<_>>();
        match sequences.and_then(|sequences| Group::new(request.key, sequences)) {
            Ok(group) => Ok(vec![(ticket, group)]),
            Err(error) => {
                self.queue.clear();
                Err(error)
            }
        }
    }

    fn load(&mut self, weights: &dyn Weights) -> Result<Version> {
        self.version = weights.version();
        Ok(self.version)
    }
}
