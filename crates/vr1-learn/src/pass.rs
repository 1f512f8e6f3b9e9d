//! A pass over the micro-batches of a step.

use crate::routed::Routed;
use crate::{Counts, Needs, SequenceLogprobs, Stats};

/// What is known of a whole step before any of it is worked on.
pub(crate) struct WholeStep {
    pub(crate) needs: Needs,
    pub(crate) counts: Counts,
    /// Tokens that are run over.
    pub(crate) tokens: usize,
    pub(crate) mismatched_kl: Option<f64>,
    pub(crate) step: u64,
    /// Which update of the step, from 0.
    pub(crate) iteration: u64,
}

/// What was measured in a pass over micro-batches.
#[derive(Debug, Default)]
pub(crate) struct Worked {
    pub(crate) stats: Stats,
    pub(crate) sampler: Stats,
    pub(crate) routed: Routed,
    /// What the model said of each sequence before the first update.
    pub(crate) logprobs: Vec<SequenceLogprobs>,
}
