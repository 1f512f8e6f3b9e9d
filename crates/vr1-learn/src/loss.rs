//! `B` sequences of a micro-batch, `T` trained tokens of the longest.

use tch::{Kind, Tensor};

use crate::{Result, Stats};

/// What is learnt: scored sequences to a number whose gradient is followed.
pub trait Loss {
    /// What the sequences are scored by.
    fn needs(&self) -> Needs;

    /// The loss of a micro-batch and what was measured. Divided by `counts`, the losses of a step's micro-batches add up to
    /// that of the step, so that the gradient does not depend on how it was cut.
    ///
    /// # Errors
    /// If a setting is out of range, or the sequences are not what the loss compares.
    fn loss(&self, scored: &Scored, counts: &Counts) -> Result<(Tensor, Stats)>;
}

/// What a loss wants to know of a sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Needs {
    /// What logits are divided by: the temperature that completions were sampled at.
    pub temperature: f64,
    /// Over which tokens the softmax runs.
    pub reach: Reach,
    /// Where old log-probabilities come from.
    pub old: Old,
    /// Whether the reference's log-probabilities are wanted.
    pub reference: bool,
    /// Whether the mean log-probability over the vocabulary is, for label smoothing.
    pub mean_logprobs: bool,
    /// Whether an estimate of the divergence from answers to other prompts is (KTO).
    pub mismatched: bool,
    /// Which sequences a loss looks at together.
    pub coupling: Coupling,
}

impl Default for Needs {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            reach: Reach::Whole,
            old: Old::Own,
            reference: false,
            mean_logprobs: false,
            mismatched: false,
            coupling: Coupling::None,
        }
    }
}

/// Over which tokens a softmax runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The whole vocabulary.
    Whole,
    /// What can be sampled: without media tokens and ids that spell nothing, as in the distribution drawn from.
    Sampled,
}

/// Where old log-probabilities come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// The sampler: those of the distribution that the tokens were drawn from. The model's own for sequences that nobody
    /// sampled.
    Drawn,
    /// The model itself, before the first update of the step.
    Own,
}

/// Which sequences must be scored in one micro-batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coupling {
    /// Each stands for itself.
    None,
    /// Those of a group.
    Group,
    /// All of the step.
    Step,
}

/// The sequences of a micro-batch, scored.
#[derive(Debug)]
pub struct Scored {
    /// Log-probabilities of the trained tokens, `[B, T]`, 0 where there is none; gradient flows through these.
    pub logprobs: Tensor,
    /// The entropy of each token's distribution in nats, `[B, T]`; gradient flows through it.
    pub entropy: Tensor,
    /// Whether each trained token is the likeliest, `[B, T]`, 1 or 0.
    pub likeliest: Tensor,
    /// The mean log-probability over the vocabulary, `[B, T]`, where it was wanted.
    pub mean_logprobs: Option<Tensor>,
    /// 1 where there is a token that is learnt from, `[B, T]`.
    pub mask: Tensor,
    /// Old log-probabilities, `[B, T]`.
    pub old_logprobs: Tensor,
    /// The log-probabilities in the distribution drawn from, `[B, T]`, where any sequence of the step was sampled; NaN for
    /// those that nobody sampled.
    pub drawn: Option<Tensor>,
    /// The reference's, `[B, T]`, where they were wanted.
    pub ref_logprobs: Option<Tensor>,
    /// The signals, `[B]`.
    pub signals: Tensor,
    /// Those of single tokens, `[B, T]`, where a sequence's tokens do not share one.
    pub token_signals: Option<Tensor>,
    /// How many sequences each group has in this micro-batch.
    pub groups: Vec<usize>,
    /// Names of the groups' samples, for messages.
    pub samples: Vec<String>,
    /// `max(0, mean(log π − log π_ref))` over answers to other prompts, of the whole step, where it was wanted.
    pub mismatched_kl: Option<f64>,
}

impl Scored {
    /// The log-probabilities of whole sequences, `[B]`: sums over their trained tokens.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn sums(&self, logprobs: &Tensor) -> Result<Tensor> {
        Ok(vr1_ops::masked_select_or_zero(logprobs, &self.mask)?.sum_dim_intlist(1i64, false, Kind::Float))
    }

    /// How many tokens each sequence learns from, `[B]`.
    pub fn lengths(&self) -> Tensor {
        self.mask.sum_dim_intlist(1i64, false, Kind::Float)
    }

    /// How many tokens there are to learn from.
    pub fn tokens(&self) -> f64 {
        self.mask.sum(Kind::Double).double_value(&[])
    }
}

/// How much there is in the whole step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    /// Tokens to learn from.
    pub tokens: f64,
    /// Those of each group's first sequence with the highest signal.
    pub chosen_tokens: f64,
    /// Sequences.
    pub sequences: f64,
    /// Sequences with a token to learn from.
    pub occupied: f64,
    /// Groups.
    pub groups: f64,
}
