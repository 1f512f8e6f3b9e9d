use serde::{Deserialize, Serialize};

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
    /// Divides the positive logits of tokens that the prompt or the completion has already, and multiplies the negative
    /// ones; 1 is no penalty.
    pub repetition_penalty: f64,
    /// The longest completion, in tokens.
    pub max_completion_tokens: usize,
    /// Of the random numbers.
    pub seed: u64,
}

impl Default for Sampling {
    /// The model's own distribution, whole: temperature 1, no limits.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            max_completion_tokens: 256,
            seed: 0,
        }
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
        let penalty = self.repetition_penalty;
        check("repetition_penalty", penalty, "above 0", penalty > 0.0 && penalty.is_finite())?;
        check("max_completion_tokens", self.max_completion_tokens as f64, "1 or more", self.max_completion_tokens > 0)
    }
}
