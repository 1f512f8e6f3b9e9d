use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use vr1_nn::Derived;
use vr1_processor::{Prompt, Specials, Tokenizer};
use vr1_rollout::{Engine, Error, Finish, Group, Request, Result, Sampled, Search, Sequence, Ticket, Version, Weights};
use vr1_vlm::{Backbone, Snapshot};

use super::beam::{Beam, beam_search};
use super::decoding::Decoding;
use super::memory::Memory;
use super::sampler::Voice;
use super::slots::Row;

/// Samples from a model in this process.
///
/// It holds the model that training changes, whose tensors it shares; where that has an adapter, it samples from a model
/// with the adapter merged, made anew by each [`load`](Engine::load). What is submitted one after the other with the same
/// settings, seeds aside, is decoded side by side as far as memory allows; [`poll`](Engine::poll) returns as soon as a group is done,
/// while others are under way. By [`load`](Engine::load) these begin anew.
#[derive(Debug)]
pub struct LocalEngine {
    voice: Voice,
    tokenizer: Arc<Tokenizer>,
    version: Version,
    memory: Memory,
    queue: VecDeque<(Ticket, Request)>,
    decoding: Option<Decoding>,
    submitted: u64,
}

impl LocalEngine {
    /// An engine over `model`, whose ids `tokenizer` spells.
    ///
    /// # Errors
    /// If there is no room for the model with its adapter merged.
    pub fn new(model: Rc<dyn Backbone>, tokenizer: impl Into<Arc<Tokenizer>>) -> Result<Self> {
        let tokenizer = tokenizer.into();
        let voice = Voice::new(merged(model)?, &tokenizer);
        let (queue, version, memory) = (VecDeque::new(), Version::default(), Memory::Free);
        Ok(Self { voice, tokenizer, version, memory, queue, decoding: None, submitted: 0 })
    }

    /// The same engine, whose prompts, rows and distributions take so many bytes at most, the model aside; one row alone may take more. Without
    /// this it is a part of what the device has free when decoding begins: three quarters of a GPU's, half of a CPU's.
    #[must_use]
    pub fn with_memory(self, bytes: u64) -> Self {
        Self { memory: Memory::Bytes(bytes), ..self }
    }

    /// Takes those from the front of the queue that can join what is being decoded.
    fn join(&mut self) {
        while let Some((_, request)) = self.queue.front().filter(|(_, request)| request.search == Search::Draw) {
            let decoding = self.decoding.get_or_insert_with(|| {
                let budget = self.memory.budget(self.voice.device());
                Decoding::new(self.voice.clone(), request.sampling.clone(), self.tokenizer.eos(), budget)
            });
            if !decoding.takes(request) {
                return;
            }
            if let Some((ticket, request)) = self.queue.pop_front() {
                decoding.submit(ticket, request);
            }
        }
    }

    fn next(&mut self) -> Result<Vec<(Ticket, Group)>> {
        loop {
            self.join();
            if let Some(decoding) = &mut self.decoding {
                let done = tch::no_grad(|| decoding.advance())?;
                if !done.is_empty() {
                    return done
                        .into_iter()
                        .map(|(ticket, request, rows)| self.group(ticket, &request, rows))
                        .collect();
                }
                self.decoding = None;
            } else if let Some((ticket, request)) = self.queue.pop_front() {
                let rows = vec![self.search(&request)?];
                return Ok(vec![self.group(ticket, &request, rows)?]);
            } else {
                return Ok(Vec::new());
            }
        }
    }

    fn search(&self, request: &Request) -> Result<Row> {
        let Search::Beam { beams, length_penalty } = request.search else { return Ok(Row::default()) };
        let beam = Beam { beams, length_penalty, sampling: request.sampling.clone(), key: request.key };
        beam_search(&self.voice, &request.prompt, self.tokenizer.eos(), &beam)
    }

    fn group(&self, ticket: Ticket, request: &Request, rows: Vec<Row>) -> Result<(Ticket, Group)> {
        let sequences = rows.into_iter().map(|row| self.sequence(&request.prompt, row)).collect::<Result<_>>()?;
        Ok((ticket, Group::new(request.key, sequences)?))
    }

    fn sequence(&self, prompt: &Arc<Prompt>, row: Row) -> Result<Sequence> {
        let Row { ids, scores: [logprobs, drawn, entropies], .. } = row;
        let text = self.tokenizer.decode(&ids, Specials::Skip)?;
        let ended = ids.last().is_some_and(|id| self.tokenizer.eos().contains(id));
        let finish = if ended { Finish::Ended } else { Finish::Length };
        let sampled = Sampled { logprobs, drawn, entropies, version: self.version, finish };
        Sequence::completion(prompt.clone(), &ids, text, sampled)
    }
}

impl Engine for LocalEngine {
    fn submit(&mut self, request: Request) -> Result<Ticket> {
        request.validate()?;
        self.voice.model.check(&request.prompt).map_err(Error::engine)?;
        request
            .prompt
            .check_fits(self.voice.model.max_tokens().saturating_sub(request.sampling.max_completion_tokens))?;
        let ticket = Ticket(self.submitted);
        self.submitted += 1;
        self.queue.push_back((ticket, request));
        Ok(ticket)
    }

    fn poll(&mut self) -> Result<Vec<(Ticket, Group)>> {
        let made = vr1_torch::guarded(|| self.next()).map_err(|error| match error {
            error @ vr1_torch::Error::OutOfMemory { .. } => Error::engine(format!(
                "{error}; decoding takes less with a smaller `rollout.memory_gb`, or shorter completions"
            )),
            error => Error::engine(error),
        });
        made.flatten().inspect_err(|_| {
            self.decoding = None;
            self.queue.clear();
        })
    }

    fn load(&mut self, weights: &dyn Weights) -> Result<Version> {
        let Some(snapshot) = weights.as_any().downcast_ref::<Snapshot>() else {
            return Err(Error::engine("weights of another process: this engine samples from a model in its own"));
        };
        self.voice = Voice::new(merged(snapshot.model.clone())?, &self.tokenizer);
        self.version = snapshot.version;
        // What is under way was drawn from other weights.
        let begun = self.decoding.take().map(Decoding::into_requests);
        begun.into_iter().flatten().rev().for_each(|request| self.queue.push_front(request));
        Ok(self.version)
    }
}

/// The model to sample from: an adapter costs two products a layer and token, merged it costs none.
fn merged(model: Rc<dyn Backbone>) -> Result<Rc<dyn Backbone>> {
    match model.parameters().adapter() {
        Some(_) => model.derive(Derived::Merged).map_err(Error::engine),
        None => Ok(model),
    }
}
