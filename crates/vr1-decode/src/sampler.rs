//! `B` rows, `V` vocabulary, `D` hidden.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use vr1_processor::Tokenizer;
use vr1_rollout::{Error, Result, Sampling};
use vr1_torch::{Draw, Drawn, sample, uniforms};
use vr1_vlm::Backbone;

use super::distribution::{is_limited, penalised, pick, see};

/// A model, and which of its vocabulary may be sampled.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    pub(crate) model: Rc<dyn Backbone>,
    /// Ids that are never sampled: those of media, which stand for pixels, and those that spell nothing, for which a
    /// model's matrix has rows beyond its tokenizer.
    unreachable: Rc<Tensor>,
    /// The same as `[V]`, true where an id is one of these.
    hidden: Rc<Tensor>,
}

impl Voice {
    pub(crate) fn new(model: Rc<dyn Backbone>, tokenizer: &Tokenizer) -> Self {
        let vocabulary = model.lm_head().size()[0];
        let unreachable = Tensor::from_slice(&tokenizer.unreachable_ids(vocabulary)).to_device(model.device());
        let hidden = Tensor::zeros([vocabulary], (Kind::Bool, model.device())).index_fill(0, &unreachable, 1);
        Self { model, unreachable: unreachable.into(), hidden: hidden.into() }
    }

    pub(crate) fn device(&self) -> Device {
        self.model.device()
    }

    pub(crate) fn vocabulary(&self) -> i64 {
        self.model.lm_head().size()[0]
    }

    /// Logits of hidden states `[…, D]` in f32, over the whole vocabulary.
    pub(crate) fn logits(&self, hidden: &Tensor) -> Tensor {
        self.model.logits(hidden).to_kind(Kind::Float)
    }

    /// Scores `[…, V]` with what is never sampled out of reach.
    pub(crate) fn reachable(&self, scores: &Tensor) -> Tensor {
        scores.index_fill(-1, &self.unreachable, f64::NEG_INFINITY)
    }

    /// Draws a token for each row from the hidden states `[B, D]` behind its last: ids `[B]`, and `[3, B]`: its log-probability under the
    /// model, that by which it was drawn, and the entropy of the model's distribution. `seen` `[B, V]` are the tokens that a row has,
    /// where they are penalised.
    pub(crate) fn draw(
        &self,
        sampling: &Sampling,
        hidden: &Tensor,
        numbers: &Numbers,
        seen: &mut Option<Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let (logits, Numbers { states, positions }) = (self.model.logits(hidden), numbers);
        if seen.is_none() && !is_limited(sampling, self.vocabulary()) {
            let draw = Draw { temperature: sampling.temperature, unreachable: Some(&self.hidden), states, positions };
            let Drawn { ids, logprobs, drawn_logprobs, entropies } = sample(&logits, &draw).map_err(Error::engine)?;
            return Ok((ids, Tensor::stack(&[logprobs, drawn_logprobs, entropies], 0).to_kind(Kind::Float)));
        }
        let logits = logits.to_kind(Kind::Float);
        // What is recorded is the model's own, without penalty, temperature or limits.
        let logprobs = logits.log_softmax(-1, Kind::Float);
        // Log-probabilities are logits too, but for a constant, which only a penalty can tell.
        let reachable = match seen {
            Some(seen) => self.reachable(&penalised(sampling, &logits, Some(seen))),
            None => self.reachable(&logprobs),
        };
        let (ids, drawn) = pick(sampling, &reachable, &uniforms(states, positions).map_err(Error::engine)?);
        see(seen, &ids);
        let own = logprobs.gather(1, &ids.unsqueeze(1), false).squeeze_dim(1);
        Ok((ids, Tensor::stack(&[own, drawn, entropy(&logprobs)], 0)))
    }
}

/// What rows draw by, as [`uniforms`] takes it.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// `[B]`.
    pub(crate) states: Tensor,
    /// How many tokens each row has, `[B]`.
    pub(crate) positions: Tensor,
}

/// The entropy of log-probabilities `[B, V]`, `[B]`.
pub(crate) fn entropy(logprobs: &Tensor) -> Tensor {
    -(logprobs.exp() * logprobs).sum_dim_intlist([-1i64].as_slice(), false, Kind::Float)
}
