use std::sync::Arc;

use vr1_rollout::{Finish, Request, Ticket, Version, stream};

/// A request that is under way, and under what name the model has the weights that it is to be answered with.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) ticket: Ticket,
    pub(crate) request: Request,
    pub(crate) target: Target,
    /// How often everything under way had been forgotten before.
    pub(crate) era: u64,
}

/// Weights as servers know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) version: Version,
    /// The model or adapter that is asked.
    pub(crate) name: Arc<str>,
    /// Whether that is an adapter.
    pub(crate) adapter: bool,
}

/// One completion as a server gave it.
#[derive(Debug, Clone)]
pub(crate) struct Completion {
    pub(crate) ids: Vec<i64>,
    /// As the server says them, under the distribution that it drew from or its own; NaN where it does not say.
    pub(crate) logprobs: Vec<f32>,
    pub(crate) finish: Finish,
}

impl Job {
    /// What a completion's randomness follows from. vLLM draws the `i`-th of `n` with the request's seed and `i` more.
    pub(crate) fn seed(&self, completion: usize) -> u64 {
        // Room for as many, within what an i64 holds.
        (stream(self.request.sampling.seed, self.request.key, 0) >> 2) + completion as u64
    }

    /// How many different answers there are: where the likeliest token is taken, one.
    pub(crate) fn different(&self) -> usize {
        if self.request.sampling.temperature > 0.0 { self.request.completions } else { 1 }
    }

    pub(crate) fn sample(&self) -> &str {
        self.request.prompt.sample()
    }
}
