use crate::Result;
use crate::range::{finite, is_finite, within};

/// Which tokens carry the policy loss, by the entropy of the policy there (80/20 rule,
/// [arXiv:2506.01939](https://arxiv.org/abs/2506.01939)). The KL term and the divisor keep all tokens, as in TRL.
///
/// # Example
/// Of two tokens with loss −1 the likelier half is left out; the divisor stays 2.
/// ```
/// # #[cfg(feature = "tch")] {
/// use tch::Tensor;
/// use vr1_grpo::{EntropyMask, Extras, GrpoConfig, grpo_loss_with};
/// let (logprobs, entropy) = (Tensor::from_slice2(&[[-1f64, -1.0]]), Tensor::from_slice2(&[[0.2f64, 0.9]]));
/// let (advantages, mask) = (Tensor::from_slice(&[1f64]), Tensor::from_slice2(&[[1i64, 1]]));
/// for (entropy_mask, expected) in [(EntropyMask::All, -1.0), (EntropyMask::Top(0.5), -0.5), (EntropyMask::AtLeast(0.2), -1.0)] {
///     let config = GrpoConfig { entropy_mask, beta: 0.0, ..Default::default() };
///     let extras = Extras { entropy: Some(&entropy), ..Default::default() };
///     let (_, stats) = grpo_loss_with(&logprobs, &logprobs, None, &advantages, &mask, extras, &config)?;
///     assert_eq!((stats.loss, stats.active), (expected, -expected));
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", content = "value", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum EntropyMask {
    /// All.
    #[default]
    All,
    /// This share of the counted tokens of the tensors handed in, those of highest entropy; the paper takes 0.2.
    Top(f64),
    /// Those of at least this entropy in nats: the threshold of a whole batch, when the tensors handed in are a part of it.
    AtLeast(f64),
}

impl EntropyMask {
    pub(super) fn validate(self) -> Result<()> {
        match self {
            Self::All => Ok(()),
            Self::Top(share) => within("entropy_mask.top", "in (0, 1]", share, share > 0.0 && share <= 1.0),
            Self::AtLeast(nats) => finite("entropy_mask.at_least", nats),
        }
    }
}

/// What becomes of the difference between the sampler's and the trainer's log-probabilities of the same tokens: a detached factor
/// on the policy loss, from `d_t = log π_old,t − log π_sampler,t` (NaN counts as 0). Truncated importance sampling
/// ([Yao 2025](https://fengyao.notion.site/off-policy-rl)) and its masked kin.
///
/// # Example
/// The trainer finds two tokens 2 times and 4 times as likely as the sampler did, the completion 8 times:
/// ```
/// # #[cfg(feature = "tch")] {
/// use tch::Tensor;
/// use vr1_grpo::{Extras, GrpoConfig, SamplerCorrection, grpo_loss_with};
/// let (old, sampler) = (Tensor::from_slice2(&[[-1f64, -1.0]]), Tensor::from_slice2(&[[-1.0 - 2f64.ln(), -1.0 - 4f64.ln()]]));
/// let (advantages, mask) = (Tensor::from_slice(&[1f64]), Tensor::from_slice2(&[[1i64, 1]]));
/// let (min, max) = (None, 3.0);
/// for (sampler_correction, factors) in [
///     (SamplerCorrection::TokenTruncate { min, max }, [2.0, 3.0]),
///     (SamplerCorrection::TokenMask { min, max }, [2.0, 0.0]),
///     (SamplerCorrection::SequenceTruncate { min, max }, [3.0, 3.0]),
///     (SamplerCorrection::SequenceMask { min, max }, [0.0, 0.0]),
/// ] {
///     let config = GrpoConfig { sampler_correction, beta: 0.0, ..Default::default() };
///     let extras = Extras { sampler_logprobs: Some(&sampler), ..Default::default() };
///     let (loss, _) = grpo_loss_with(&old, &old, None, &advantages, &mask, extras, &config)?;
///     assert!((loss.double_value(&[]) + (factors[0] + factors[1]) / 2.0).abs() < 1e-12);
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum SamplerCorrection {
    /// Nothing.
    #[default]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    None,
    /// `clamp(exp(d_t), min, max)` per token (truncated importance sampling).
    TokenTruncate {
        /// Lower bound, if any.
        min: Option<f64>,
        /// Upper bound; TRL takes 3. Infinity is none.
        max: f64,
    },
    /// `exp(d_t)` per token, 0 outside `[min, max]` (masked importance sampling).
    TokenMask {
        /// Lower bound, if any.
        min: Option<f64>,
        /// Upper bound; TRL takes 3. Infinity is none.
        max: f64,
    },
    /// `clamp(exp(Σ_t d_t), min, max)`, one factor a sequence.
    SequenceTruncate {
        /// Lower bound, if any.
        min: Option<f64>,
        /// Upper bound; TRL takes 3. Infinity is none.
        max: f64,
    },
    /// `exp(Σ_t d_t)`, 0 outside `[min, max]`, one factor a sequence (TRL's default with vLLM).
    SequenceMask {
        /// Lower bound, if any.
        min: Option<f64>,
        /// Upper bound; TRL takes 3. Infinity is none.
        max: f64,
    },
}

/// The level at which a sampler correction acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Token,
    Sequence,
}

/// What becomes of a weight outside its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    Clamped,
    Zeroed,
}

impl SamplerCorrection {
    /// Level, rule and bounds; nothing for [`SamplerCorrection::None`].
    pub(crate) fn parts(self) -> Option<(Level, Outside, Option<f64>, f64)> {
        match self {
            Self::None => None,
            Self::TokenTruncate { min, max } => Some((Level::Token, Outside::Clamped, min, max)),
            Self::TokenMask { min, max } => Some((Level::Token, Outside::Zeroed, min, max)),
            Self::SequenceTruncate { min, max } => Some((Level::Sequence, Outside::Clamped, min, max)),
            Self::SequenceMask { min, max } => Some((Level::Sequence, Outside::Zeroed, min, max)),
        }
    }

    pub(super) fn validate(self) -> Result<()> {
        let Some((_, _, min, max)) = self.parts() else { return Ok(()) };
        within(
            "sampler_correction.max",
            "a positive number, or infinity",
            max,
            max > 0.0 && (is_finite(max) || max == f64::INFINITY),
        )?;
        match min {
            Some(min) => within(
                "sampler_correction.min",
                "finite and in [0, max]",
                min,
                is_finite(min) && min >= 0.0 && min <= max,
            ),
            None => Ok(()),
        }
    }
}
