use std::sync::Arc;

use vr1_processor::Prompt;

use crate::sequence::check_prompt;
use crate::{Result, SampleKey, Sampling};

/// A prompt to be completed, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt; all completions share it.
    pub prompt: Arc<Prompt>,
    /// How many completions, `G`.
    pub completions: usize,
    /// How tokens are picked.
    pub sampling: Sampling,
    /// What the randomness hangs on, beside the sampling's seed.
    pub key: SampleKey,
    /// Whether completions are drawn one by one, or searched for.
    pub search: Search,
}

/// How a completion is found.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Search {
    /// Each is drawn token by token.
    #[default]
    Draw,
    /// The best that beam search finds; asks for one completion. With a temperature above 0 successors are drawn in
    /// proportion to their likelihood (transformers' beam-sample), at 0 the best are taken.
    Beam {
        /// How many beams are kept.
        beams: usize,
        /// A hypothesis of `n` tokens scores its summed log-probability over `n^length_penalty`.
        length_penalty: f64,
    },
}

impl Request {
    /// One completion for each `completions`, drawn.
    pub fn new(prompt: impl Into<Arc<Prompt>>, completions: usize, sampling: Sampling, key: SampleKey) -> Self {
        Self { prompt: prompt.into(), completions, sampling, key, search: Search::Draw }
    }

    /// Checks every setting's range, and that there is something to complete.
    ///
    /// # Errors
    /// If a setting is out of range, which the error names, or the prompt has no token.
    pub fn validate(&self) -> Result<()> {
        check_prompt(&self.prompt)?;
        self.sampling.validate()?;
        let wrong = |field, value: f64, allowed| Err(crate::Error::Setting { field, value, allowed });
        match self.search {
            Search::Beam { beams: 0, .. } => wrong("beams", 0.0, "1 or more"),
            Search::Beam { length_penalty, .. } if !length_penalty.is_finite() => {
                wrong("length_penalty", length_penalty, "finite")
            }
            Search::Beam { .. } if self.completions != 1 => {
                wrong("completions", self.completions as f64, "1 where beams are searched")
            }
            _ if self.completions == 0 => wrong("completions", 0.0, "1 or more"),
            _ => Ok(()),
        }
    }
}
