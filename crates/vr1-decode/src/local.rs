use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

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
    /// What is left of it where that was more than there is, until new weights come.
    lessened: Option<u64>,
    queue: VecDeque<(Ticket, Request)>,
    decoding: Option<Decoding>,
    submitted: u64,
    /// Seconds that decoding took since they were last asked for, prompts in them; and those of prompts.
    took: [f64; 2],
}

impl LocalEngine {
    /// An engine over `model`, whose ids `tokenizer` spells.
    ///
    /// # Errors
    /// If there is no room for the model with its adapter merged.
    pub fn new(model: Rc<dyn Backbone>, tokenizer: impl Into<Arc<Tokenizer>>) -> Result<Self> {
        Ok(Self::before_load(merged(model)?, tokenizer))
    }

    /// The same for who hands weights over before anything is sampled, by [`load`](Engine::load): an adapter is merged then, and until then
    /// no weight is read.
    pub fn before_load(model: Rc<dyn Backbone>, tokenizer: impl Into<Arc<Tokenizer>>) -> Self {
        let tokenizer = tokenizer.into();
        let voice = Voice::new(model, &tokenizer);
        Self {
            voice,
            tokenizer,
            version: Version::default(),
            memory: Memory::Free,
            lessened: None,
            queue: VecDeque::new(),
            decoding: None,
            submitted: 0,
            took: [0.0; 2],
        }
    }

    /// The same engine, whose prompts, rows and distributions take so many bytes at most, the model aside; one row alone may take more. Without
    /// this it is a part of what the device has free when decoding begins: three quarters of a GPU's, half of a CPU's. Where even that is not
    /// there, what was under way begins anew with half of it, again and again down to one row.
    #[must_use]
    pub fn with_memory(self, bytes: u64) -> Self {
        Self { memory: Memory::Bytes(bytes), ..self }
    }

    fn budget(&self) -> u64 {
        let budget = self.memory.budget(self.voice.device());
        self.lessened.map_or(budget, |left| left.min(budget))
    }

    /// Takes those from the front of the queue that can join what is being decoded.
    fn join(&mut self) {
        let budget = self.budget();
        while let Some((_, request)) = self.queue.front().filter(|(_, request)| request.search == Search::Draw) {
            let decoding = self.decoding.get_or_insert_with(|| {
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
                let done = tch::no_grad(|| decoding.advance());
                self.took[1] += decoding.take_seconds();
                let done = done?;
                // Nothing is held for nobody, while others work with the model.
                if decoding.is_done() {
                    self.decoding = None;
                }
                if !done.is_empty() {
                    return done
                        .into_iter()
                        .map(|(ticket, request, rows)| self.group(ticket, &request, rows))
                        .collect();
                }
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
        beam_search(&self.voice, &request.prompt, self.tokenizer.eos(), &beam, self.budget())
    }

    /// What is under way begins anew, with half the memory, where that is no less than a row takes; whether it is so.
    fn lessen(&mut self) -> bool {
        let Some(decoding) = self.decoding.take() else { return false };
        let (half, least) = (decoding.budget() / 2, decoding.least());
        decoding.into_requests().rev().for_each(|request| self.queue.push_front(request));
        self.lessened = Some(half);
        half >= least
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
        let begun = Instant::now();
        let made = loop {
            match vr1_torch::guarded(|| self.next()).map_err(Failed::from).and_then(|made| made.map_err(Failed::from)) {
                Err(Failed::OutOfMemory(_)) if self.lessen() => {}
                made => break made,
            }
        };
        self.took[0] += begun.elapsed().as_secs_f64();
        made.map_err(|failed| {
            self.decoding = None;
            self.queue.clear();
            match failed {
                Failed::OutOfMemory(error) => Error::engine(format!(
                    "{error}; decoding takes less with a smaller `rollout.memory_gb`, or shorter completions"
                )),
                Failed::Other(error) => error,
            }
        })
    }

    fn load(&mut self, weights: &dyn Weights) -> Result<Version> {
        let Some(snapshot) = weights.as_any().downcast_ref::<Snapshot>() else {
            return Err(Error::engine("weights of another process: this engine samples from a model in its own"));
        };
        self.voice = Voice::new(merged(snapshot.model.clone())?, &self.tokenizer);
        self.version = snapshot.version;
        self.lessened = None;
        // What is under way was drawn from other weights.
        let begun = self.decoding.take().map(Decoding::into_requests);
        begun.into_iter().flatten().rev().for_each(|request| self.queue.push_front(request));
        Ok(self.version)
    }

    fn take_seconds(&mut self) -> Vec<(&'static str, f64)> {
        let [all, prompts] = std::mem::take(&mut self.took);
        vec![("prefill", prompts), ("decoding", (all - prompts).max(0.0))]
    }
}

/// Why there is nothing to give.
enum Failed {
    OutOfMemory(vr1_torch::Error),
    Other(Error),
}

impl From<vr1_torch::Error> for Failed {
    fn from(error: vr1_torch::Error) -> Self {
        match error {
            error @ vr1_torch::Error::OutOfMemory { .. } => Self::OutOfMemory(error),
            error => Self::Other(Error::engine(error)),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Engine(cause) => thrown(cause).map_or_else(|cause| Self::Other(Error::Engine(cause)), Self::from),
            error => Self::Other(error),
        }
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What libtorch threw, where that is the cause.
fn thrown(cause: Cause) -> Result<vr1_torch::Error, Cause> {
    let cause = match cause.downcast::<vr1_torch::Error>() {
        Ok(error) => return Ok(*error),
        Err(cause) => cause,
    };
    let cause = match cause.downcast::<tch::TchError>() {
        Ok(error) => return Ok((*error).into()),
        Err(cause) => cause,
    };
    match cause.downcast::<vr1_vlm::Error>().map(|error| *error) {
        Ok(vr1_vlm::Error::Torch(error)) => Ok(error),
        Ok(error) => Err(error.into()),
        Err(cause) => Err(cause),
    }
}

/// The model to sample from: an adapter costs two products a layer and token, merged it costs none.
fn merged(model: Rc<dyn Backbone>) -> Result<Rc<dyn Backbone>> {
    match model.parameters().adapter() {
        Some(_) => model.derive(Derived::Merged).map_err(Error::engine),
        None => Ok(model),
    }
}
