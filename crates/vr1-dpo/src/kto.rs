use tch::{Kind, Tensor, no_grad};
use vr1_ops::{check_alike, check_floating, check_rank};

use crate::range::{not_negative, positive};
use crate::{Error, Result};

/// The loss of a completion that someone liked (`x = log π − log π_ref`) or disliked.
///
/// # Example
/// A liked completion that gained 3 nats, β = 1, where the policy is z = 1 nat from its reference: 1 − σ(2) and 1 − σ(3).
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{KtoConfig, KtoLoss, kto_loss};
/// let t = |x: f64| Tensor::from_slice(&[x]);
/// for (loss, x) in [(KtoLoss::Kto, 2f64), (KtoLoss::ApoZero, 3.0)] {
///     let config = KtoConfig { loss, beta: 1.0, ..Default::default() };
///     let (value, _) = kto_loss(&t(-4.0), &t(-7.0), &t(1.0), 1.0, &config)?;
///     assert!((value.double_value(&[]) - 1.0 / (1.0 + x.exp())).abs() < 1e-12);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum KtoLoss {
    /// Liked: `1 − σ(β(x − z))`, disliked: `1 − σ(β(z − x))`, with `z` the KL divergence (KTO, [arXiv:2402.01306](https://arxiv.org/abs/2402.01306),
    /// equation 7).
    #[default]
    Kto,
    /// Liked: `1 − σ(βx)`, disliked: `σ(βx)` (unpaired APO-zero, [arXiv:2408.06266](https://arxiv.org/abs/2408.06266)).
    ApoZero,
}

/// The settings of [`kto_loss`].
///
/// # Example
/// Three liked completions for each disliked one; the paper has the weights make up for it:
/// ```
/// let config = vr1_dpo::KtoConfig { undesirable_weight: 3.0, ..Default::default() };
/// assert!(config.validate().is_ok() && config.desirable_weight == 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct KtoConfig {
    /// The loss of a completion. Default: KTO.
    pub loss: KtoLoss,
    /// β. Default: 0.1.
    pub beta: f64,
    /// The weight of what was liked. Default: 1.
    pub desirable_weight: f64,
    /// The weight of what was disliked. Default: 1.
    pub undesirable_weight: f64,
    /// By how many completions the sum is divided; `None` = those handed in. For micro-batches: those of the whole batch.
    pub completions: Option<f64>,
}

impl Default for KtoConfig {
    fn default() -> Self {
        Self { loss: KtoLoss::Kto, beta: 0.1, desirable_weight: 1.0, undesirable_weight: 1.0, completions: None }
    }
}

impl KtoConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Setting`] names the field, its range and its value.
    ///
    /// # Example
    /// ```
    /// assert!(vr1_dpo::KtoConfig { beta: 0.0, ..Default::default() }.validate().is_err());
    /// ```
    pub fn validate(&self) -> Result<()> {
        positive("beta", self.beta)?;
        not_negative("desirable_weight", self.desirable_weight)?;
        not_negative("undesirable_weight", self.undesirable_weight)?;
        self.completions.map_or(Ok(()), |n| positive("completions", n))
    }
}

/// What a KTO loss says about its batch; plain numbers without gradient. A mean over no completion is NaN. See [`kto_loss`].
///
/// # Example
/// What was liked gained 3 nats, what was disliked lost one; β is 0.1.
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{KtoConfig, kto_loss};
/// let t = |pair: [f64; 2]| Tensor::from_slice(&pair);
/// let (_, stats) = kto_loss(&t([-4.0, -6.0]), &t([-7.0, -5.0]), &t([1.0, 0.0]), 0.0, &KtoConfig::default())?;
/// assert!((stats.desirable_reward - 0.3).abs() < 1e-12 && (stats.undesirable_reward + 0.1).abs() < 1e-12);
/// assert_eq!((stats.desirable, stats.undesirable), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KtoStats {
    /// The loss itself.
    pub loss: f64,
    /// The KL divergence that was used.
    pub kl: f64,
    /// The mean implied reward `β·x` of what was liked.
    pub desirable_reward: f64,
    /// The mean implied reward of what was disliked.
    pub undesirable_reward: f64,
    /// How many were liked.
    pub desirable: i64,
    /// How many were disliked.
    pub undesirable: i64,
}

/// The KL divergence of [`kto_loss`], from completions that belong to other prompts.
///
/// ```text
/// z = max(0, mean(log π(y'|x) − log π_ref(y'|x)))
/// ```
///
/// Micro-batches must share one `z`, so it is handed in as a number. Ranks average the means before the maximum.
///
/// # Shapes
/// `logprobs [N]`, `ref_logprobs [N]` → a number.
///
/// # Errors
/// Shapes that do not go together, no completion, or values that are not finite.
///
/// # Example
/// ```
/// use tch::Tensor;
/// let (logprobs, reference) = (Tensor::from_slice(&[-4f32, -6.0]), Tensor::from_slice(&[-5f32, -6.0]));
/// assert_eq!(vr1_dpo::kto_kl(&logprobs, &reference)?, 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn kto_kl(logprobs: &Tensor, ref_logprobs: &Tensor) -> Result<f64> {
    check_rank("logprobs", logprobs, 1)?;
    check_floating("logprobs", logprobs)?;
    check_alike("ref_logprobs", ref_logprobs, "logprobs", logprobs)?;
    check_floating("ref_logprobs", ref_logprobs)?;
    if logprobs.numel() == 0 {
        return Err(Error::EmptyBatch);
    }
    let v = no_grad(|| {
        let bad = |tensor: &Tensor| tensor.isfinite().logical_not().sum(Kind::Double);
        let gap = logprobs.to_kind(Kind::Double) - ref_logprobs.to_kind(Kind::Double);
        Vec::<f64>::try_from(Tensor::stack(&[gap.mean(Kind::Double), bad(logprobs), bad(ref_logprobs)], 0))
    })?;
    check_finite(v[1], v[2])?;
    Ok(v[0].max(0.0))
}

/// The loss of completions that were liked or disliked one by one, without pairs.
///
/// ```text
/// x    = log π(y) − log π_ref(y)
/// loss = mean( λ_D · (1 − σ(β(x − z)))  liked,   λ_U · (1 − σ(β(z − x)))  disliked )
/// ```
///
/// Paper: KTO, [arXiv:2402.01306](https://arxiv.org/abs/2402.01306). Gradient flows through `logprobs` alone; `kl` is [`kto_kl`].
///
/// # Shapes
/// `logprobs`, `ref_logprobs`, `desirable` `[N]` (`desirable` ≠ 0: liked) → a scalar.
///
/// # Errors
/// A setting out of range, shapes, kinds or devices that do not go together, NaN or ±∞, an empty batch, a negative `kl`, a loss that
/// overflows.
///
/// # Example
/// A policy that is still its reference pays ½ for each:
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{KtoConfig, kto_loss};
/// let (logprobs, desirable) = (Tensor::from_slice(&[-4f64, -6.0]), Tensor::from_slice(&[1i64, 0]));
/// let (loss, stats) = kto_loss(&logprobs, &logprobs, &desirable, 0.0, &KtoConfig::default())?;
/// assert_eq!(loss.double_value(&[]), 0.5);
/// assert_eq!((stats.desirable, stats.undesirable), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn kto_loss(
    logprobs: &Tensor,
    ref_logprobs: &Tensor,
    desirable: &Tensor,
    kl: f64,
    config: &KtoConfig,
) -> Result<(Tensor, KtoStats)> {
    config.validate()?;
    check_rank("logprobs", logprobs, 1)?;
    check_floating("logprobs", logprobs)?;
    check_alike("ref_logprobs", ref_logprobs, "logprobs", logprobs)?;
    check_floating("ref_logprobs", ref_logprobs)?;
    check_alike("desirable", desirable, "logprobs", logprobs)?;
    if logprobs.numel() == 0 {
        return Err(Error::EmptyBatch);
    }
    not_negative("kl", kl)?;
    let kind = if logprobs.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    let x = logprobs.to_kind(kind) - ref_logprobs.detach().to_kind(kind); // [N]
    let liked = desirable.ne(0);
    let z = if config.loss == KtoLoss::Kto { kl } else { 0.0 };
    // 1 − σ(u) = σ(−u)
    let up = ((&x - z) * -config.beta).sigmoid() * config.desirable_weight;
    let down = ((&x - z) * config.beta).sigmoid() * config.undesirable_weight;
    let total = up.where_self(&liked, &down).sum(kind);
    let loss = total / config.completions.unwrap_or(logprobs.numel() as f64);
    let v = no_grad(|| {
        let rewards = x.to_kind(Kind::Double) * config.beta;
        let likes = liked.to_kind(Kind::Double);
        let values = [
            loss.to_kind(Kind::Double),
            (&rewards * &likes).sum(Kind::Double),
            rewards.sum(Kind::Double),
            likes.sum(Kind::Double),
            logprobs.isfinite().logical_not().sum(Kind::Double),
            ref_logprobs.isfinite().logical_not().sum(Kind::Double),
            x.to_kind(Kind::Double).abs().max(),
        ];
        Vec::<f64>::try_from(Tensor::stack(&values, 0))
    })?;
    check_finite(v[4], v[5])?;
    if !v[0].is_finite() {
        return Err(Error::Overflow { log_ratio: v[6] });
    }
    let others = logprobs.numel() as f64 - v[3];
    let stats = KtoStats {
        loss: v[0],
        kl,
        desirable_reward: v[1] / v[3],
        undesirable_reward: (v[2] - v[1]) / others,
        desirable: v[3] as i64,
        undesirable: others as i64,
    };
    Ok((loss, stats))
}

/// How many log-probabilities of policy and reference are NaN or infinite: none may be.
fn check_finite(logprobs: f64, ref_logprobs: f64) -> Result<()> {
    match [("logprobs", logprobs), ("ref_logprobs", ref_logprobs)].into_iter().find(|(_, count)| *count > 0.0) {
        Some((name, count)) => Err(Error::NonFinite { name, count: count as i64 }),
        None => Ok(()),
    }
}
