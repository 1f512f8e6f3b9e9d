mod aggregation;
mod corrections;
mod kl;
mod objective;

pub use aggregation::{Aggregation, EmptyRows, Normalizer};
pub use corrections::{EntropyMask, SamplerCorrection};
#[cfg(feature = "tch")]
pub(crate) use corrections::{Level, Outside};
pub use kl::{KlEstimator, KlGradient, KlWeight};
pub use objective::{CispoCap, Importance, Objective};

use crate::Result;
use crate::range::{finite, is_finite, not_negative, positive, within};

/// The settings of [`grpo_loss`](crate::grpo_loss). `Default` is the paper's GRPO.
///
/// # Example
/// DAPO ([arXiv:2503.14476](https://arxiv.org/abs/2503.14476)) as a departure from it:
/// ```
/// use vr1_grpo::{Aggregation, GrpoConfig};
/// let dapo = GrpoConfig { aggregation: Aggregation::Token, epsilon_high: Some(0.28), beta: 0.0, ..Default::default() };
/// assert_eq!((dapo.epsilon, dapo.upper_epsilon()), (0.2, 0.28));
/// assert!(dapo.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "snake_case")
)]
pub struct GrpoConfig {
    /// The per-token policy loss. Default: [`Objective::Clip`].
    pub objective: Objective,
    /// β, the weight of the KL term. Default: 0.04 (DeepSeekMath). 0 means no reference policy.
    pub beta: f64,
    /// ε, how far below 1 the ratio counts. Default: 0.2.
    pub epsilon: f64,
    /// ε_high, how far above 1 the ratio counts; `None` = `epsilon`. DAPO takes 0.28; for CISPO with
    /// [`CispoCap::Absolute`] it is the cap itself, and is required.
    pub epsilon_high: Option<f64>,
    /// δ, the largest ratio that an advantage below 0 is multiplied by under [`Objective::Clip`]. Default: none; INTELLECT-2 takes 4.
    pub delta: Option<f64>,
    /// c of the dual clip, under [`Objective::Clip`]. Default: none; verl and EasyR1 take 3.
    pub dual_clip: Option<f64>,
    /// The level of the ratio. Default: [`Importance::Token`].
    pub importance: Importance,
    /// How tokens and sequences are averaged. Default: [`Aggregation::Sequence`].
    pub aggregation: Aggregation,
    /// Whose tokens and sequences are counted. Default: [`Normalizer::Local`].
    pub normalizer: Normalizer,
    /// Whether rows without a counted token count as sequences. Default: [`EmptyRows::Counted`].
    pub empty_rows: EmptyRows,
    /// The estimate of the KL term. Default: [`KlEstimator::K3`].
    pub kl: KlEstimator,
    /// The weight of the KL term. Default: [`KlWeight::One`].
    pub kl_weight: KlWeight,
    /// Whose gradient the KL term has. Default: [`KlGradient::Own`].
    pub kl_gradient: KlGradient,
    /// Bounds ±b on `log π_ref − log π` before the KL estimate. Default: none; verl takes 20, for k3 alone.
    pub kl_log_ratio_bound: Option<f64>,
    /// Bounds ±b on the KL estimate of a token. Default: none; verl takes 10, for k3 alone.
    pub kl_bound: Option<f64>,
    /// Bounds ±b on `log π − log π_old` before its exponential. Default: none; verl takes 20.
    pub log_ratio_bound: Option<f64>,
    /// The weight of the mean entropy that is subtracted from the loss. Default: 0.
    pub entropy_bonus: f64,
    /// Which tokens carry the policy loss (and the entropy bonus). Default: all.
    pub entropy_mask: EntropyMask,
    /// By how many tokens the entropy bonus is divided under [`Normalizer::Global`]: those of the whole batch that the entropy mask
    /// keeps. Default: `None`, all its counted tokens. [`Normalizer::Local`] counts for itself.
    pub entropy_tokens: Option<f64>,
    /// The correction for the sampler's own log-probabilities. Default: none.
    pub sampler_correction: SamplerCorrection,
    /// Sequences with `A < 0` and a mean of `log π_sampler − log π` above this carry no policy loss (DeepSeek-V3.2's off-policy
    /// mask; π_old stands in when no sampler log-probabilities are given). Default: none.
    pub off_policy_threshold: Option<f64>,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        Self {
            objective: Objective::Clip,
            beta: 0.04,
            epsilon: 0.2,
            epsilon_high: None,
            delta: None,
            dual_clip: None,
            importance: Importance::Token,
            aggregation: Aggregation::Sequence,
            normalizer: Normalizer::Local,
            empty_rows: EmptyRows::Counted,
            kl: KlEstimator::K3,
            kl_weight: KlWeight::One,
            kl_gradient: KlGradient::Own,
            kl_log_ratio_bound: None,
            kl_bound: None,
            log_ratio_bound: None,
            entropy_bonus: 0.0,
            entropy_mask: EntropyMask::All,
            entropy_tokens: None,
            sampler_correction: SamplerCorrection::None,
            off_policy_threshold: None,
        }
    }
}

impl GrpoConfig {
    /// ε_high, which is ε where none is set.
    ///
    /// # Example
    /// ```
    /// assert_eq!(vr1_grpo::GrpoConfig::default().upper_epsilon(), 0.2);
    /// ```
    pub fn upper_epsilon(&self) -> f64 {
        self.epsilon_high.unwrap_or(self.epsilon)
    }

    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) names the field, its range and its value.
    ///
    /// # Example
    /// ```
    /// let config = vr1_grpo::GrpoConfig { epsilon: 1.5, ..Default::default() };
    /// assert_eq!(config.validate().unwrap_err().to_string(), "`epsilon` must be in [0, 1), but it is 1.5");
    /// ```
    pub fn validate(&self) -> Result<()> {
        let upper = self.upper_epsilon();
        not_negative("beta", self.beta)?;
        within("epsilon", "in [0, 1)", self.epsilon, (0.0..1.0).contains(&self.epsilon))?;
        not_negative("epsilon_high", upper)?;
        if let Some(delta) = self.delta {
            within("delta", "a finite number > 1 + epsilon_high", delta, is_finite(delta) && delta > 1.0 + upper)?;
        }
        if let Some(c) = self.dual_clip {
            within("dual_clip", "a finite number > 1", c, is_finite(c) && c > 1.0)?;
        }
        let bounds = [
            ("kl_log_ratio_bound", self.kl_log_ratio_bound),
            ("kl_bound", self.kl_bound),
            ("log_ratio_bound", self.log_ratio_bound),
            ("entropy_tokens", self.entropy_tokens),
        ];
        for (field, bound) in bounds {
            bound.map_or(Ok(()), |bound| positive(field, bound))?;
        }
        finite("entropy_bonus", self.entropy_bonus)?;
        self.off_policy_threshold.map_or(Ok(()), |threshold| finite("off_policy_threshold", threshold))?;
        self.objective.validate(upper)?;
        self.aggregation.validate()?;
        self.normalizer.validate()?;
        self.entropy_mask.validate()?;
        self.sampler_correction.validate()
    }
}
