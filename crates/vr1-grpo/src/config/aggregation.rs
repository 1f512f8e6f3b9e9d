use crate::Result;
use crate::range::{is_finite, within};

/// How per-token losses become one number. `B` sequences, `N_i` counted tokens in sequence `i`.
///
/// [`Normalizer`] says whose sequences and tokens are counted.
///
/// # Example
/// Two completions of 1 and 3 tokens, on-policy without a reference, so that every token's loss is −A: −4 once, −2 three times.
/// ```
/// # #[cfg(feature = "tch")] {
/// use tch::{Device, Kind, Tensor};
/// use vr1_grpo::{Aggregation, GrpoConfig, grpo_loss};
/// let logprobs = Tensor::zeros([2, 3], (Kind::Double, Device::Cpu));
/// let (advantages, mask) = (Tensor::from_slice(&[4f64, 2.0]), Tensor::from_slice2(&[[1i64, 0, 0], [1, 1, 1]]));
/// for (aggregation, expected) in [
///     (Aggregation::Sequence, (-4.0 - 2.0) / 2.0),
///     (Aggregation::Token, (-4.0 - 6.0) / 4.0),
///     (Aggregation::Constant(10), (-4.0 - 6.0) / 20.0),
///     (Aggregation::SequenceSum, (-4.0 - 6.0) / 2.0),
/// ] {
///     let config = GrpoConfig { aggregation, beta: 0.0, ..Default::default() };
///     let (loss, _) = grpo_loss(&logprobs, &logprobs, None, &advantages, &mask, &config)?;
///     assert_eq!(loss.double_value(&[]), expected);
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", content = "tokens", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Aggregation {
    /// `1/B · Σ_i 1/N_i · Σ_t ℓ_{i,t}`: the mean of each sequence, then their mean (GRPO,
    /// [arXiv:2402.03300](https://arxiv.org/abs/2402.03300)).
    #[default]
    Sequence,
    /// `Σ_{i,t} ℓ_{i,t} / Σ_i N_i`: every token weighs the same (DAPO, [arXiv:2503.14476](https://arxiv.org/abs/2503.14476)).
    Token,
    /// `Σ_{i,t} ℓ_{i,t} / (B · L)` with a constant `L`, usually the longest completion allowed (Dr. GRPO,
    /// [arXiv:2503.20783](https://arxiv.org/abs/2503.20783)).
    Constant(i64),
    /// `1/B · Σ_{i,t} ℓ_{i,t}`: sums of sequences, then their mean (LUSPO, [arXiv:2602.05261](https://arxiv.org/abs/2602.05261);
    /// with [`Objective::Reinforce`](crate::Objective::Reinforce) the textbook REINFORCE).
    SequenceSum,
}

impl Aggregation {
    pub(super) fn validate(self) -> Result<()> {
        match self {
            Self::Constant(tokens) => within("aggregation.tokens", "at least 1", tokens as f64, tokens >= 1),
            _ => Ok(()),
        }
    }
}

/// Whose sequences and tokens [`Aggregation`] divides by.
///
/// # Example
/// A batch of two completions in two parts: their losses add up to that of the whole.
/// ```
/// # #[cfg(feature = "tch")] {
/// use tch::{Device, Kind, Tensor};
/// use vr1_grpo::{Aggregation, GrpoConfig, Normalizer, grpo_loss};
/// let logprobs = Tensor::zeros([2, 3], (Kind::Double, Device::Cpu));
/// let (advantages, mask) = (Tensor::from_slice(&[4f64, 2.0]), Tensor::from_slice2(&[[1i64, 0, 0], [1, 1, 1]]));
/// let normalizer = Normalizer::Global { sequences: 2.0, tokens: 4.0 };
/// let config = GrpoConfig { aggregation: Aggregation::Token, normalizer, beta: 0.0, ..Default::default() };
/// let part = |i: i64| {
///     let [logprobs, advantages, mask] = [&logprobs, &advantages, &mask].map(|tensor| tensor.narrow(0, i, 1));
///     grpo_loss(&logprobs, &logprobs, None, &advantages, &mask, &config)
/// };
/// assert_eq!(part(0)?.1.loss, -1.0); // −4 over 4 tokens
/// assert_eq!(part(1)?.1.loss, -1.5); // −6 over 4 tokens; the whole is −10/4
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Normalizer {
    /// Those of the tensors handed in. A loss over one big batch.
    #[default]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Local,
    /// Those of a batch of which the tensors handed in are a part. The losses of the parts *add up* to the loss of the whole,
    /// and so do their gradients. Where ranks average their gradients, divide both counts by the number of ranks.
    Global {
        /// Sequences of the whole batch (those with at least one counted token, under [`EmptyRows::Skipped`]).
        sequences: f64,
        /// Counted tokens of the whole batch.
        tokens: f64,
    },
}

impl Normalizer {
    pub(super) fn validate(self) -> Result<()> {
        let Self::Global { sequences, tokens } = self else { return Ok(()) };
        counted("normalizer.sequences", sequences)?;
        counted("normalizer.tokens", tokens)
    }
}

/// A count that losses are divided by; one that is next to nothing would make gradients infinite.
fn counted(field: &'static str, got: f64) -> Result<()> {
    within(field, "a finite number ≥ 0.001", got, is_finite(got) && got >= 1e-3)
}

/// Whether a sequence without a counted token (a masked-out truncated completion) counts as a sequence.
///
/// # Example
/// The second of two completions was cut off and masked out; the first has loss −4.
/// ```
/// # #[cfg(feature = "tch")] {
/// use tch::{Device, Kind, Tensor};
/// use vr1_grpo::{EmptyRows, GrpoConfig, grpo_loss};
/// let logprobs = Tensor::zeros([2, 1], (Kind::Double, Device::Cpu));
/// let (advantages, mask) = (Tensor::from_slice(&[4f64, 2.0]), Tensor::from_slice2(&[[1i64], [0]]));
/// for (empty_rows, expected) in [(EmptyRows::Counted, -2.0), (EmptyRows::Skipped, -4.0)] {
///     let config = GrpoConfig { empty_rows, beta: 0.0, ..Default::default() };
///     assert_eq!(grpo_loss(&logprobs, &logprobs, None, &advantages, &mask, &config)?.1.loss, expected);
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum EmptyRows {
    /// It adds 0 to the sum and 1 to the count (TRL).
    #[default]
    Counted,
    /// It is left out (verl).
    Skipped,
}
