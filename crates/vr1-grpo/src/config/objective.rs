use crate::Result;
use crate::range::{not_negative, positive, within};

/// The level at which the ratio π/π_old is taken. `r_t = log π_t − log π_old,t`, `N` counted tokens.
///
/// # Example
/// Two tokens became 4 times and 1 times as likely: ratios 4 and 1, √(4·1) = 2 of the sequence, 4 of the whole completion.
/// ```
/// # #[cfg(feature = "tch")] {
/// use tch::Tensor;
/// use vr1_grpo::{GrpoConfig, Importance, grpo_loss};
/// let (new, old) = (Tensor::from_slice2(&[[4f64.ln(), 0.0]]), Tensor::from_slice2(&[[0f64, 0.0]]));
/// let (advantages, mask) = (Tensor::from_slice(&[1f64]), Tensor::from_slice2(&[[1i64, 1]]));
/// for (importance, expected) in [
///     (Importance::Token, (4.0 + 1.0) / 2.0),
///     (Importance::Sequence, 2.0),
///     (Importance::SequenceToken, 2.0),
///     (Importance::SequenceProduct, 4.0),
/// ] {
///     let config = GrpoConfig { importance, beta: 0.0, ..Default::default() };
///     let (_, stats) = grpo_loss(&new, &old, None, &advantages, &mask, &config)?;
///     assert!((stats.ratio_mean - expected).abs() < 1e-12);
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// # Example
/// A token twice as likely as before, with ε = 0.2, ε_high = 1.5, advantage 1 and log π = −1: the weight is 1.5 under the absolute cap,
/// and 2 where the cap is 1 + 1.5.
/// ```
/// # #[cfg(feature = "tch")] {
/// use tch::Tensor;
/// use vr1_grpo::{CispoCap, GrpoConfig, Objective, grpo_loss};
/// let (new, old) = (Tensor::from_slice2(&[[-1f64]]), Tensor::from_slice2(&[[-1f64 - 2f64.ln()]]));
/// let (advantages, mask) = (Tensor::from_slice(&[1f64]), Tensor::from_slice2(&[[1i64]]));
/// for (cap, expected) in [(CispoCap::Absolute, 1.5), (CispoCap::Around, 2.0)] {
///     let objective = Objective::Cispo { cap };
///     let config = GrpoConfig { objective, epsilon_high: Some(1.5), beta: 0.0, ..Default::default() };
///     let (loss, _) = grpo_loss(&new, &old, None, &advantages, &mask, &config)?;
///     assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

/// The per-token policy loss ℓ, with ratio `w`, advantage `A`, `sg` = no gradient. What a recipe leaves out is the paper's.
///
/// # Example
/// A token half as likely as before, `w = ½`, with `A = 1` and `log π = −1`. ε = 0.2 does not bind: the clip is one-sided.
/// ```
/// # #[cfg(feature = "tch")] {
/// use tch::Tensor;
/// use vr1_grpo::{CispoCap, GrpoConfig, Objective, grpo_loss};
/// let (new, old) = (Tensor::from_slice2(&[[-1f64]]), Tensor::from_slice2(&[[-1f64 + 2f64.ln()]]));
/// let (advantages, mask) = (Tensor::from_slice(&[1f64]), Tensor::from_slice2(&[[1i64]]));
/// for (objective, expected) in [
///     (Objective::Clip, -0.5),
///     (Objective::Cispo { cap: CispoCap::Around }, 0.8),              // −0.8 · log π
///     (Objective::SAPO, -4.0 / (1.0 + 0.5f64.exp())),                 // −4 · sigmoid(−½)
///     (Objective::VESPO, (3.0 - 2.0 * 2f64.ln() - 1.5).exp()),        // φ = exp(3 + 2·ln ½ − 3·½)
///     (Objective::Unclipped, -0.5),
///     (Objective::Reinforce, 1.0),
/// ] {
///     let config = GrpoConfig { objective, beta: 0.0, ..Default::default() };
///     let (loss, _) = grpo_loss(&new, &old, None, &advantages, &mask, &config)?;
///     assert!((loss.double_value(&[]) - expected).abs() < 1e-12, "{objective:?}");
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
pub enum Objective {
    /// `−min(min(w, δ)·A, clamp(w, 1 − ε, 1 + ε_high)·A)` (PPO [arXiv:1707.06347](https://arxiv.org/abs/1707.06347), GRPO; clip-higher:
    /// DAPO; δ: INTELLECT-2 [arXiv:2505.07291](https://arxiv.org/abs/2505.07291)). With `dual_clip = c`, where `A < 0`, at most `−c·A`
    /// ([arXiv:1912.09729](https://arxiv.org/abs/1912.09729)).
    #[default]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Clip,
    /// `−sg(cap(w))·A·log π` (CISPO, MiniMax-M1, [arXiv:2506.13585](https://arxiv.org/abs/2506.13585)).
    Cispo {
        /// What the cap is. A recipe's default: absolute.
        #[cfg_attr(feature = "serde", serde(default))]
        cap: CispoCap,
    },
    /// `−A · 4/τ · sigmoid(τ(w − 1))` with τ by the sign of `A` (SAPO, [arXiv:2511.20347](https://arxiv.org/abs/2511.20347)).
    Sapo {
        /// τ where `A > 0`; the paper takes 1.
        #[cfg_attr(feature = "serde", serde(default = "crate::recipe::one"))]
        temperature_positive: f64,
        /// τ where `A ≤ 0`; the paper takes 1.05.
        #[cfg_attr(feature = "serde", serde(default = "crate::recipe::sapo_negative"))]
        temperature_negative: f64,
    },
    /// `−sg(φ)·A·log π`, `φ = exp(λ + k·ln W − λ·W)`, `W = Π_t w_t` (times the sampler's correction), `ln W` held in
    /// `[ln 1e-8, 20]`; `(k, λ)` by the sign of `A` (VESPO, [arXiv:2602.10693](https://arxiv.org/abs/2602.10693)).
    Vespo {
        /// `k` where `A ≥ 0`; usually 2.
        #[cfg_attr(feature = "serde", serde(default = "crate::recipe::two"))]
        k_positive: f64,
        /// `λ` where `A ≥ 0`; usually 3.
        #[cfg_attr(feature = "serde", serde(default = "crate::recipe::three"))]
        lambda_positive: f64,
        /// `k` where `A < 0`; usually 3.
        #[cfg_attr(feature = "serde", serde(default = "crate::recipe::three"))]
        k_negative: f64,
        /// `λ` where `A < 0`; usually 2.
        #[cfg_attr(feature = "serde", serde(default = "crate::recipe::two"))]
        lambda_negative: f64,
    },
    /// `−w·A`, without a clip.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Unclipped,
    /// `−A·log π`, on-policy (REINFORCE, REINFORCE++ [arXiv:2501.03262](https://arxiv.org/abs/2501.03262); GPG
    /// [arXiv:2504.02546](https://arxiv.org/abs/2504.02546)).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Reinforce,
}

impl Objective {
    /// SAPO with the paper's temperatures, 1 and 1.05.
    pub const SAPO: Self = Self::Sapo { temperature_positive: 1.0, temperature_negative: 1.05 };
    /// VESPO with the published exponents.
    pub const VESPO: Self =
        Self::Vespo { k_positive: 2.0, lambda_positive: 3.0, k_negative: 3.0, lambda_negative: 2.0 };

    /// `upper` is ε_high, which is an absolute cap's cap.
    pub(super) fn validate(self, upper: f64) -> Result<()> {
        match self {
            Self::Sapo { temperature_positive, temperature_negative } => {
                positive("objective.temperature_positive", temperature_positive)?;
                positive("objective.temperature_negative", temperature_negative)
            }
            Self::Vespo { k_positive, lambda_positive, k_negative, lambda_negative } => {
                not_negative("objective.k_positive", k_positive)?;
                not_negative("objective.k_negative", k_negative)?;
                positive("objective.lambda_positive", lambda_positive)?;
                positive("objective.lambda_negative", lambda_negative)
            }
            Self::Cispo { cap: CispoCap::Absolute } => within(
                "epsilon_high",
                "set to the cap itself, ≥ 1, for CISPO with an absolute cap",
                upper,
                upper >= 1.0,
            ),
            _ => Ok(()),
        }
    }
}
