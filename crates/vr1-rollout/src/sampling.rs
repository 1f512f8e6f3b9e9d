//! `B` rows, `V` vocabulary.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{Error, Result};

/// How tokens are picked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Divides the logits; 0 picks the most likely token.
    pub temperature: f64,
    /// Only this many most likely tokens can be picked; 0 is no limit.
    pub top_k: i64,
    /// Only the fewest most likely tokens whose probabilities reach this sum can be picked; 1 is no limit.
    pub top_p: f64,
    /// Only tokens at least this likely, relative to the most likely one, can be picked; 0 is no limit.
    pub min_p: f64,
    /// The longest completion, in tokens.
    pub max_completion_tokens: usize,
    /// Of the random numbers.
    pub seed: u64,
}

impl Default for Sampling {
    /// What `generate(do_sample=True)` does in transformers: temperature 1, top-k 50.
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 50, top_p: 1.0, min_p: 0.0, max_completion_tokens: 256, seed: 0 }
    }
}

impl Sampling {
    /// The most likely token, always.
    pub fn greedy(max_completion_tokens: usize) -> Self {
        Self { temperature: 0.0, max_completion_tokens, ..Self::default() }
    }

    /// Checks every setting's range.
    ///
    /// # Errors
    /// If one is out of range; the error names it.
    pub fn validate(&self) -> Result<()> {
        let check = |field, value: f64, allowed, ok: bool| {
            if ok { Ok(()) } else { Err(Error::Setting { field, value, allowed }) }
        };
        check("temperature", self.temperature, "0 or more", self.temperature >= 0.0 && self.temperature.is_finite())?;
        check("top_k", self.top_k as f64, "0 or more", self.top_k >= 0)?;
        check("top_p", self.top_p, "in (0, 1]", self.top_p > 0.0 && self.top_p <= 1.0)?;
        check("min_p", self.min_p, "in [0, 1)", (0.0..1.0).contains(&self.min_p))?;
        check("max_completion_tokens", self.max_completion_tokens as f64, "1 or more", self.max_completion_tokens > 0)
    }

    /// Picks a token for each row of `logits` `[B, V]` (f32) with the numbers `uniform` `[B]` in `[0, 1)`: ids `[B]`.
    ///
    /// The tokens left by the limits are put in the order of the vocabulary, and the number says where in their
    /// cumulative probability to stop. Limits apply in transformers' order: temperature, top-k, top-p, min-p.
    pub(crate) fn pick(&self, logits: &Tensor, uniform: &Tensor) -> Tensor {
        if self.temperature == 0.0 {
            return logits.argmax(-1, false);
        }
        let mut logits = logits / self.temperature;
        let vocabulary = logits.size()[1];
        if self.top_k > 0 && self.top_k < vocabulary {
            let (top, _) = logits.topk(self.top_k, -1, true, true);
            let least = top.narrow(1, self.top_k - 1, 1);
            logits = logits.masked_fill(&logits.lt_tensor(&least), f64::NEG_INFINITY);
        }
        if self.top_p < 1.0 {
            let (sorted, order) = logits.sort(-1, true);
            let probabilities = sorted.softmax(-1, Kind::Float);
            let before = probabilities.cumsum(-1, Kind::Float) - &probabilities;
            let cut = before.ge(self.top_p).scatter(1, &order, &before.ge(self.top_p));
            logits = logits.masked_fill(&cut, f64::NEG_INFINITY);
        }
        let mut probabilities = logits.softmax(-1, Kind::Float);
        if self.min_p > 0.0 {
            let least = probabilities.amax([-1i64].as_slice(), true) * self.min_p;
            probabilities = probabilities.masked_fill(&probabilities.lt_tensor(&least), 0.0);
        }
        let cumulative = probabilities.to_kind(Kind::Double).cumsum(-1, Kind::Double);
        let total = cumulative.narrow(1, vocabulary - 1, 1);
        let target = uniform.to_kind(Kind::Double).unsqueeze(1) * total;
        // The first token whose cumulative probability exceeds the target; never one of probability zero.
        cumulative.le_tensor(&target).sum_dim_intlist([-1i64].as_slice(), false, Kind::Int64).clamp(0, vocabulary - 1)
    }
}
