//! `P` prompts, `G` completions of each, `V` vocabulary.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use tch::{Kind, Tensor};
use vr1_nn::Derived;
use vr1_processor::{Prompt, Specials, Tokenizer};
use vr1_rollout::{Engine, Error, Finish, Group, Request, Result, Sampled, Search, Sequence, Ticket, Version, Weights};
use vr1_vlm::{Backbone, Snapshot};

use super::beam::{Beam, beam_search};
use super::slots::Slots;

/// Samples from a model in this process.
///
/// It holds the model that training changes, whose tensors it shares; where that has an adapter, it samples from a model
/// with the adapter merged, made anew by each [`load`](Engine::load). What is submitted between two calls of
/// [`poll`](Engine::poll) with the same settings is decoded side by side.
#[derive(Debug)]
pub struct LocalEngine {
    model: Rc<dyn Backbone>,
    tokenizer: Arc<Tokenizer>,
    /// Ids that are never sampled: those of media, which stand for pixels, and those that spell nothing, for which a
    /// model's matrix has rows beyond its tokenizer.
    unreachable: Tensor,
    version: Version,
    queue: VecDeque<(Ticket, Request)>,
    submitted: u64,
}

/// A completion as it comes out of decoding: ids, the model's log-probabilities, and those drawn by.
pub(crate) type Drawn = (Vec<i64>, Vec<f32>, Vec<f32>);

impl LocalEngine {
    /// An engine over `model`, whose ids `tokenizer` spells.
    ///
    /// # Errors
    /// If there is no room for the model with its adapter merged.
    pub fn new(model: Rc<dyn Backbone>, tokenizer: impl Into<Arc<Tokenizer>>) -> Result<Self> {
        let tokenizer = tokenizer.into();
        let unreachable = unreachable(&tokenizer, model.as_ref());
        let (queue, version) = (VecDeque::new(), Version::default());
        Ok(Self { model: merged(model)?, tokenizer, unreachable, version, queue, submitted: 0 })
    }

    /// The model that is sampled from.
    pub(crate) fn model(&self) -> &dyn Backbone {
        self.model.as_ref()
    }

    /// The tokenizer.
    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Logits of hidden states `[…, D]` in f32, over the whole vocabulary.
    pub(crate) fn logits(&self, hidden: &Tensor) -> Tensor {
        self.model.logits(hidden).to_kind(Kind::Float)
    }

    /// Scores `[…, V]` with what is never sampled out of reach.
    pub(crate) fn reachable(&self, scores: &Tensor) -> Tensor {
        scores.index_fill(-1, &self.unreachable, f64::NEG_INFINITY)
    }

    /// The first requests of the queue that can be decoded side by side.
    fn batch(&mut self) -> Vec<(Ticket, Request)> {
        let mut batch: Vec<(Ticket, Request)> = Vec::new();
        while let Some((_, next)) = self.queue.front() {
            let alike = batch.first().is_none_or(|(_, first)| {
                (first.completions, first.search, &first.sampling) == (next.completions, next.search, &next.sampling)
            });
            if !alike {
                break;
            }
            batch.extend(self.queue.pop_front());
        }
        batch
    }

    fn complete(&self, batch: &[(Ticket, Request)]) -> Result<Vec<(Ticket, Group)>> {
        let Some((_, first)) = batch.first() else { return Ok(Vec::new()) };
        let drawn = match first.search {
            Search::Draw => tch::no_grad(|| self.decode(batch))?,
            Search::Beam { beams, length_penalty } => {
                let best = |(_, request): &(Ticket, Request)| -> Result<Drawn> {
                    let beam = Beam { beams, length_penalty, sampling: request.sampling.clone(), key: request.key };
                    let (ids, logprobs) = beam_search(self, &request.prompt, &beam)?;
                    // What a search finds is not drawn.
                    let certain = vec![0.0; ids.len()];
                    Ok((ids, logprobs, certain))
                };
                batch.iter().map(best).collect::<Result<_>>()?
            }
        };
        let mut drawn = drawn.into_iter();
        let group = |(ticket, request): &(Ticket, Request)| {
            let own = drawn.by_ref().take(request.completions);
            let sequences = own.map(|drawn| self.sequence(&request.prompt, drawn)).collect::<Result<_>>()?;
            Ok((*ticket, Group::new(request.key, sequences)?))
        };
        batch.iter().map(group).collect()
    }

    /// A sequence from sampled ids, cut after the first end of sequence.
    fn sequence(&self, prompt: &Arc<Prompt>, (mut ids, mut logprobs, mut drawn): Drawn) -> Result<Sequence> {
        let end = ids.iter().position(|id| self.tokenizer.eos().contains(id));
        if let Some(end) = end {
            ids.truncate(end + 1);
            [&mut logprobs, &mut drawn].into_iter().for_each(|list| list.truncate(end + 1));
        }
        let text = self.tokenizer.decode(&ids, Specials::Skip)?;
        let finish = if end.is_some() { Finish::Ended } else { Finish::Length };
        let sampled = Sampled { logprobs, drawn, version: self.version, finish };
        Sequence::completion(prompt.clone(), &ids, text, sampled)
    }

    /// The prompts are prefilled once; then all completions of all prompts advance together, token by token, until each
    /// has ended or there is no more room.
    fn decode(&self, batch: &[(Ticket, Request)]) -> Result<Vec<Drawn>> {
        let requests: Vec<&Request> = batch.iter().map(|(_, request)| request).collect();
        Slots::new(self, &requests)?.run()
    }
}

impl Engine for LocalEngine {
    fn submit(&mut self, request: Request) -> Result<Ticket> {
        request.validate()?;
        self.model.check(&request.prompt).map_err(Error::engine)?;
        request.prompt.check_fits(self.model.max_tokens().saturating_sub(request.sampling.max_completion_tokens))?;
        let ticket = Ticket(self.submitted);
        self.submitted += 1;
        self.queue.push_back((ticket, request));
        Ok(ticket)
    }

    fn poll(&mut self) -> Result<Vec<(Ticket, Group)>> {
        let batch = self.batch();
        let made = vr1_torch::guarded(|| self.complete(&batch)).map_err(|error| match error {
            error @ vr1_torch::Error::OutOfMemory { .. } => Error::engine(format!(
                "{error}; decoding takes less with fewer prompts or completions side by side, or shorter ones"
            )),
            error => Error::engine(error),
        });
        made.flatten().inspect_err(|_| self.queue.clear())
    }

    fn load(&mut self, weights: &dyn Weights) -> Result<Version> {
        let Some(snapshot) = weights.as_any().downcast_ref::<Snapshot>() else {
            return Err(Error::engine("weights of another process: this engine samples from a model in its own"));
        };
        self.model = merged(snapshot.model.clone())?;
        self.unreachable = unreachable(&self.tokenizer, self.model.as_ref());
        self.version = snapshot.version;
        Ok(self.version)
    }
}

/// The ids below the rows of a model's matrix that are never sampled.
fn unreachable(tokenizer: &Tokenizer, model: &dyn Backbone) -> Tensor {
    Tensor::from_slice(&tokenizer.unreachable_ids(model.lm_head().size()[0])).to_device(model.device())
}

/// The model to sample from: an adapter costs two products a layer and token, merged it costs none.
fn merged(model: Rc<dyn Backbone>) -> Result<Rc<dyn Backbone>> {
    match model.parameters().adapter() {
        Some(_) => model.derive(Derived::Merged).map_err(Error::engine),
        None => Ok(model),
    }
}
