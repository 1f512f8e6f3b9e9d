use crate::{Error, Result};

/// How per-token losses become one number. `B` sequences, `N_i` counted tokens in sequence `i`.
///
/// [`Normalizer`] says whose sequences and tokens are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", content = "tokens", rename_all = "snake_case")
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
    /// with [`Objective::Reinforce`] the textbook REINFORCE).
    SequenceSum,
}

/// Whose sequences and tokens [`Aggregation`] divides by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Normalizer {
    /// Those of the tensors handed in. A loss over one big batch.
    #[default]
    Local,
    /// Those of a batch of which the tensors handed in are a part. The losses of the parts *add up* to the loss of the whole,
    /// and so do their gradients. Where ranks average their gradients, divide both counts by the number of ranks.
    Global {
        /// Sequences of the whole batch (those with at least one counted token, under [`EmptyRows::Skipped`]).
        sequences: f64,
        /// Counted tokens of the whole batch (what the entropy bonus divides by, too).
        tokens: f64,
    },
}

/// Whether a sequence without a counted token (a masked-out truncated completion) counts as a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum EmptyRows {
    /// It adds 0 to the sum and 1 to the count (TRL).
    #[default]
    Counted,
    /// It is left out (verl).
    Skipped,
}

/// The level at which the ratio π/π_old is taken. `r_t = log π_t − log π_old,t`, `N` counted tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Importance {
    /// `exp(r_t)`, one ratio a token (PPO, GRPO).
    #[default]
    Token,
    /// `exp(Σ_t r_t / N)`, one ratio a sequence (GSPO, [arXiv:2507.18071](https://arxiv.org/abs/2507.18071), equation 5).
    Sequence,
    /// The same value as [`Importance::Sequence`], but each token passes its own gradient: `sg(s) · π_t / sg(π_t)` (GSPO-token,
    /// equation 13). It matters where advantages differ from token to token.
    SequenceToken,
    /// `exp(Σ_t r_t)`, the true ratio of whole completions (RLOO, [arXiv:2402.14740](https://arxiv.org/abs/2402.14740)).
    SequenceProduct,
}

/// How CISPO caps its weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum CispoCap {
    /// `min(ratio, ε_high)`: the cap is `epsilon_high` itself, for instance 5 (TRL, ScaleRL
    /// [arXiv:2510.13786](https://arxiv.org/abs/2510.13786)).
    #[default]
    Absolute,
    /// `clamp(ratio, 1 − ε, 1 + ε_high)` (verl, EasyR1).
    Around,
}

/// The per-token policy loss ℓ, with ratio `w`, advantage `A`, `sg` = no gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Objective {
    /// `−min(min(w, δ)·A, clamp(w, 1 − ε, 1 + ε_high)·A)` (PPO [arXiv:1707.06347](https://arxiv.org/abs/1707.06347), GRPO; clip-higher:
    /// DAPO; δ: INTELLECT-2 [arXiv:2505.07291](https://arxiv.org/abs/2505.07291)). With `dual_clip = c`, where `A < 0`, at most `−c·A`
    /// ([arXiv:1912.09729](https://arxiv.org/abs/1912.09729)).
    #[default]
    Clip,
    /// `−sg(cap(w))·A·log π` (CISPO, MiniMax-M1, [arXiv:2506.13585](https://arxiv.org/abs/2506.13585)).
    Cispo {
        /// What the cap is.
        cap: CispoCap,
    },
    /// `−A · 4/τ · sigmoid(τ(w − 1))` with τ by the sign of `A` (SAPO, [arXiv:2511.20347](https://arxiv.org/abs/2511.20347)).
    Sapo {
        /// τ where `A > 0`; the paper takes 1.
        temperature_positive: f64,
        /// τ where `A ≤ 0`; the paper takes 1.05.
        temperature_negative: f64,
    },
    /// `−sg(φ)·A·log π`, `φ = exp(λ + k·ln W − λ·W)`, `W = Π_t w_t` (times the sampler's correction), `ln W` held in
    /// `[ln 1e-8, 20]`; `(k, λ)` by the sign of `A` (VESPO, [arXiv:2602.10693](https://arxiv.org/abs/2602.10693)).
    Vespo {
        /// `k` where `A ≥ 0`; usually 2.
        k_positive: f64,
        /// `λ` where `A ≥ 0`; usually 3.
        lambda_positive: f64,
        /// `k` where `A < 0`; usually 3.
        k_negative: f64,
        /// `λ` where `A < 0`; usually 2.
        lambda_negative: f64,
    },
    /// `−w·A`, without a clip.
    Unclipped,
    /// `−A·log π`, on-policy (REINFORCE, REINFORCE++ [arXiv:2501.03262](https://arxiv.org/abs/2501.03262); GPG
    /// [arXiv:2504.02546](https://arxiv.org/abs/2504.02546)).
    Reinforce,
}

impl Objective {
    /// SAPO with the paper's temperatures, 1 and 1.05.
    pub const SAPO: Self = Self::Sapo { temperature_positive: 1.0, temperature_negative: 1.05 };
    /// VESPO with the published exponents.
    pub const VESPO: Self =
        Self::Vespo { k_positive: 2.0, lambda_positive: 3.0, k_negative: 3.0, lambda_negative: 2.0 };
}

/// The per-token estimate of KL(π ‖ π_ref), with `d = log π_ref − log π`
/// ([Schulman 2020](http://joschu.net/blog/kl-approx.html)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum KlEstimator {
    /// `−d`: unbiased, may be negative; as a loss its gradient is that of `log π`.
    K1,
    /// `d²/2`: biased, small variance.
    K2,
    /// `exp(d) − d − 1`: never negative (GRPO).
    #[default]
    K3,
    /// `|d|`.
    Absolute,
}

/// Whether the KL term is weighted by the importance ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum KlWeight {
    /// No (GRPO, TRL before 1.16).
    #[default]
    One,
    /// `ratio · kl`, through which gradient flows too: unbiased off-policy, and unbiased as a gradient on-policy (DeepSeek-V3.2,
    /// [arXiv:2512.02556](https://arxiv.org/abs/2512.02556); TRL 1.16's default).
    Ratio,
}

/// Whose gradient the KL term has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum KlGradient {
    /// That of the estimator itself.
    #[default]
    Own,
    /// That of [`KlEstimator::K2`], straight through: its expectation is the gradient of the KL divergence on-policy, which that of k1 and k3
    /// is not (verl's `k1+`, `k3+`; [arXiv:2510.01555](https://arxiv.org/abs/2510.01555)).
    K2,
}

/// Which tokens carry the policy loss, by the entropy of the policy there (80/20 rule,
/// [arXiv:2506.01939](https://arxiv.org/abs/2506.01939)). The KL term and the divisor keep all tokens, as in TRL.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", content = "value", rename_all = "snake_case")
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

/// What becomes of the difference between the sampler's and the trainer's log-probabilities of the same tokens: a detached factor
/// on the policy loss, from `d_t = log π_old,t − log π_sampler,t` (NaN counts as 0).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum SamplerCorrection {
    /// Nothing.
    #[default]
    None,
    /// `clamp(exp(d_t), min, max)` per token (truncated importance sampling).
    TokenTruncate {
        /// Lower bound, if any.
        min: Option<f64>,
        /// Upper bound; TRL takes 3.
        max: f64,
    },
    /// `exp(d_t)` per token, 0 outside `[min, max]` (masked importance sampling).
    TokenMask {
        /// Lower bound, if any.
        min: Option<f64>,
        /// Upper bound; TRL takes 3.
        max: f64,
    },
    /// `clamp(exp(Σ_t d_t), min, max)`, one factor a sequence.
    SequenceTruncate {
        /// Lower bound, if any.
        min: Option<f64>,
        /// Upper bound; TRL takes 3.
        max: f64,
    },
    /// `exp(Σ_t d_t)`, 0 outside `[min, max]`, one factor a sequence (TRL's default with vLLM).
    SequenceMask {
        /// Lower bound, if any.
        min: Option<f64>,
        /// Upper bound; TRL takes 3.
        max: f64,
    },
}

/// The settings of [`grpo_loss`](crate::grpo_loss). `Default` is the paper's GRPO.
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
    /// δ, the largest ratio that an advantage below 0 is multiplied by. Default: none; INTELLECT-2 takes 4.
    pub delta: Option<f64>,
    /// c of the dual clip. Default: none; verl and EasyR1 take 3.
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
            sampler_correction: SamplerCorrection::None,
            off_policy_threshold: None,
        }
    }
}

impl GrpoConfig {
    /// ε_high, which is ε where none is set.
    pub fn upper_epsilon(&self) -> f64 {
        self.epsilon_high.unwrap_or(self.epsilon)
    }

    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Setting`] names the field, its range and its value.
    ///
    /// # Example
    /// ```
    /// let config = vr1_grpo::GrpoConfig { epsilon: 1.5, ..Default::default() };
    /// assert_eq!(config.validate().unwrap_err().to_string(), "`epsilon` must be in [0, 1), but it is 1.5");
    /// ```
    pub fn validate(&self) -> Result<()> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        let check = |field, expected, got: f64, valid: bool| {
            if valid { Ok(()) } else { Err(Error::Setting { field, expected, got }) }
        };
        let optional = |field, value: Option<f64>| match value {
            Some(bound) => check(field, "a positive number", bound, positive(bound)),
            None => Ok(()),
        };
        check("beta", "a finite number ≥ 0", self.beta, not_negative(self.beta))?;
        check("epsilon", "in [0, 1)", self.epsilon, (0.0..1.0).contains(&self.epsilon))?;
        let upper = self.upper_epsilon();
        check("epsilon_high", "a finite number ≥ 0", upper, not_negative(upper))?;
        if let Some(delta) = self.delta {
            check("delta", "a finite number > 1 + epsilon_high", delta, delta.is_finite() && delta > 1.0 + upper)?;
        }
        if let Some(c) = self.dual_clip {
            check("dual_clip", "a finite number > 1", c, c.is_finite() && c > 1.0)?;
        }
        match self.objective {
            Objective::Sapo { temperature_positive: p, temperature_negative: n } => {
                check("objective.temperature_positive", "a positive number", p, positive(p))?;
                check("objective.temperature_negative", "a positive number", n, positive(n))?;
            }
            Objective::Vespo { k_positive, lambda_positive, k_negative, lambda_negative } => {
                check("objective.k_positive", "a finite number ≥ 0", k_positive, not_negative(k_positive))?;
                check("objective.k_negative", "a finite number ≥ 0", k_negative, not_negative(k_negative))?;
                check("objective.lambda_positive", "a positive number", lambda_positive, positive(lambda_positive))?;
                check("objective.lambda_negative", "a positive number", lambda_negative, positive(lambda_negative))?;
            }
            Objective::Cispo { cap: CispoCap::Absolute } => {
                check(
                    "epsilon_high",
                    "set to the cap itself, ≥ 1, for CISPO with an absolute cap",
                    upper,
                    upper >= 1.0,
                )?;
            }
            _ => {}
        }
        if let Aggregation::Constant(tokens) = self.aggregation {
            check("aggregation.tokens", "at least 1", tokens as f64, tokens >= 1)?;
        }
        if let Normalizer::Global { sequences, tokens } = self.normalizer {
            check("normalizer.sequences", "a positive number", sequences, positive(sequences))?;
            check("normalizer.tokens", "a positive number", tokens, positive(tokens))?;
        }
        optional("kl_log_ratio_bound", self.kl_log_ratio_bound)?;
        optional("kl_bound", self.kl_bound)?;
        optional("log_ratio_bound", self.log_ratio_bound)?;
        check("entropy_bonus", "a finite number", self.entropy_bonus, self.entropy_bonus.is_finite())?;
        match self.entropy_mask {
            EntropyMask::Top(share) => check("entropy_mask.top", "in (0, 1]", share, share > 0.0 && share <= 1.0)?,
            EntropyMask::AtLeast(nats) => check("entropy_mask.at_least", "a finite number", nats, nats.is_finite())?,
            EntropyMask::All => {}
        }
        if let Some((_, _, min, max)) = self.sampler_correction.parts() {
            check("sampler_correction.max", "a positive number", max, positive(max))?;
            if let Some(min) = min {
                check("sampler_correction.min", "in [0, max]", min, (0.0..=max).contains(&min))?;
            }
        }
        if let Some(threshold) = self.off_policy_threshold {
            check("off_policy_threshold", "a finite number", threshold, threshold.is_finite())?;
        }
        Ok(())
    }
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
}
