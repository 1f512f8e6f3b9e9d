use tch::{Kind, Tensor};

use crate::batch::Batch;
use crate::config::{GrpoConfig, Normalizer};
use crate::{Error, Result, policy};

/// What a loss says about its batch. Plain numbers without gradient; means are over counted tokens unless said otherwise.
///
/// Where the ratio is one a sequence, its statistics are over sequences weighted by their tokens.
///
/// # Example
/// Of two tokens with A = 1, one became twice as likely and is clipped at 1.2.
/// ```
/// use tch::Tensor;
/// use vr1_grpo::{GrpoConfig, grpo_loss};
/// let (new, old) = (Tensor::from_slice2(&[[2f64.ln(), 0.0]]), Tensor::from_slice2(&[[0f64, 0.0]]));
/// let (advantages, mask) = (Tensor::from_slice(&[1f64]), Tensor::from_slice2(&[[1i64, 1]]));
/// let (_, stats) = grpo_loss(&new, &old, None, &advantages, &mask, &GrpoConfig { beta: 0.0, ..Default::default() })?;
/// assert!((stats.loss + (1.2 + 1.0) / 2.0).abs() < 1e-12 && (stats.ratio_mean - 1.5).abs() < 1e-12);
/// assert_eq!((stats.clip_ratio_high, stats.clip_ratio_low, stats.tokens, stats.sequences), (0.5, 0.0, 2, 1));
/// assert!((stats.old_kl - (2.0 - 2f64.ln() - 1.0) / 2.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GrpoStats {
    /// The loss itself: policy + β·KL − bonus·entropy, under the configured aggregation.
    pub loss: f64,
    /// The policy part, under the configured aggregation.
    pub policy_loss: f64,
    /// The mean estimate of KL(π ‖ π_ref), weighted as configured; 0 without reference log-probabilities.
    pub kl: f64,
    /// The mean entropy in nats, where entropies were handed in.
    pub entropy: Option<f64>,
    /// The mean importance ratio π/π_old; 1 on-policy, and where nothing counts.
    pub ratio_mean: f64,
    /// The smallest importance ratio.
    pub ratio_min: f64,
    /// The largest importance ratio.
    pub ratio_max: f64,
    /// The share of tokens that the clip (or cap) cuts: `clip_ratio_low + clip_ratio_high`.
    pub clip_ratio: f64,
    /// The share with ratio below 1 − ε and a negative advantage.
    pub clip_ratio_low: f64,
    /// The share with ratio above the upper bound and a positive advantage.
    pub clip_ratio_high: f64,
    /// The mean of `exp(r) − r − 1`, `r = log π − log π_old`: how far the update has moved from the policy that sampled, KL(π_old ‖ π).
    pub old_kl: f64,
    /// The mean advantage of the counted tokens.
    pub advantage_mean: f64,
    /// The share of tokens that carry the policy loss, after entropy and off-policy masks; 1 without them.
    pub active: f64,
    /// The mean correction factor for the sampler; 1 without correction.
    pub sampler_ratio_mean: f64,
    /// Counted tokens.
    pub tokens: i64,
    /// Sequences with at least one counted token.
    pub sequences: i64,
}

impl GrpoStats {
    /// Those of a part of a batch in which no token counts.
    pub(crate) const NOTHING: Self = Self {
        loss: 0.0,
        policy_loss: 0.0,
        kl: 0.0,
        entropy: None,
        ratio_mean: 1.0,
        ratio_min: 1.0,
        ratio_max: 1.0,
        clip_ratio: 0.0,
        clip_ratio_low: 0.0,
        clip_ratio_high: 0.0,
        old_kl: 0.0,
        advantage_mean: 0.0,
        active: 1.0,
        sampler_ratio_mean: 1.0,
        tokens: 0,
        sequences: 0,
    };

    /// From what [`Terms::stats`] measured, in its order.
    fn from_numbers(numbers: [f64; 15], has_entropy: bool) -> Self {
        let [
            loss,
            policy_loss,
            kl,
            entropy,
            ratio_mean,
            ratio_min,
            ratio_max,
            clip_ratio_low,
            clip_ratio_high,
            old_kl,
            advantage_mean,
            active,
            sampler_ratio_mean,
            tokens,
            sequences,
        ] = numbers;
        Self {
            loss,
            policy_loss,
            kl,
            ratio_mean,
            ratio_min,
            ratio_max,
            clip_ratio_low,
            clip_ratio_high,
            old_kl,
            advantage_mean,
            active,
            sampler_ratio_mean,
            entropy: has_entropy.then_some(entropy),
            clip_ratio: clip_ratio_low + clip_ratio_high,
            tokens: tokens as i64,
            sequences: sequences as i64,
        }
    }

    /// An error for the first fault that [`Terms::stats`] found, in its order.
    fn check(&self, faults: [f64; 10], config: &GrpoConfig) -> Result<()> {
        let [logprobs, old_logprobs, ref_logprobs, entropy, advantages, ratio, drift, kl, reference_drift, factor] =
            faults;
        let inputs = [
            ("logprobs", logprobs),
            ("old_logprobs", old_logprobs),
            ("ref_logprobs", ref_logprobs),
            ("entropy", entropy),
            ("advantages", advantages),
            ("sampler_logprobs", factor),
        ];
        if let Some((name, count)) = inputs.into_iter().find(|(_, count)| *count > 0.0) {
            return Err(Error::NonFinite { name, count: count as i64 });
        }
        if self.tokens == 0 && config.normalizer == Normalizer::Local {
            return Err(Error::EmptyMask);
        }
        if ratio > 0.0 {
            return Err(Error::Overflow { name: "ratio", log_ratio: drift });
        }
        if kl > 0.0 && config.beta != 0.0 {
            return Err(Error::Overflow { name: "kl", log_ratio: reference_drift });
        }
        if self.loss.is_finite() { Ok(()) } else { Err(Error::Overflow { name: "loss", log_ratio: drift }) }
    }
}

/// Everything that statistics and the checks on values look at.
pub(crate) struct Terms {
    pub(crate) batch: Batch,
    pub(crate) log_ratio: Tensor,
    pub(crate) ratio: Tensor,
    pub(crate) factor: Option<Tensor>,
    pub(crate) carried: Tensor,
    pub(crate) kl: Option<Tensor>,
    pub(crate) policy_loss: Tensor,
}

impl Terms {
    /// Statistics and the checks on values, read back from the device in one transfer.
    pub(crate) fn stats(&self, loss: &Tensor, config: &GrpoConfig) -> Result<GrpoStats> {
        let kind = Kind::Double;
        let batch = &self.batch;
        let keep = &batch.keep;
        let tokens = keep.sum(kind);
        let zero = || tokens.zeros_like();
        // Counted values of a [B, T] or [B, 1] tensor, `filler` elsewhere.
        let spread = |tensor: &Tensor, filler: f64| {
            let wide = tensor.detach().to_kind(kind).expand_as(keep);
            wide.where_self(keep, &wide.full_like(filler))
        };
        let mean = |tensor: &Tensor| spread(tensor, 0.0).sum(kind) / tokens.clamp_min(1.0);
        let bad = |tensor: &Tensor| spread(tensor, 0.0).isfinite().logical_not().sum(kind);
        let bad_option = |tensor: &Option<Tensor>| tensor.as_ref().map_or_else(zero, bad);
        let largest = |tensor: &Tensor| spread(tensor, 0.0).abs().max();
        let (low, high) = policy::clipped(&self.ratio, &batch.advantages, config);
        let log_ratio = self.log_ratio.to_kind(kind);

        let measured = [
            loss.to_kind(kind),
            self.policy_loss.to_kind(kind),
            self.kl.as_ref().map_or_else(zero, mean),
            batch.entropy.as_ref().map_or_else(zero, mean),
            mean(&self.ratio),
            spread(&self.ratio, f64::INFINITY).min(),
            spread(&self.ratio, f64::NEG_INFINITY).max(),
            mean(&low),
            mean(&high),
            mean(&(log_ratio.exp() - &log_ratio - 1.0)),
            mean(&batch.advantages),
            mean(&self.carried),
            self.factor.as_ref().map_or_else(|| tokens.ones_like(), mean),
            tokens.shallow_clone(),
            keep.any_dim(1, false).sum(kind),
        ];
        let faults = [
            bad(&batch.logprobs),
            bad(&batch.old_logprobs),
            bad_option(&batch.ref_logprobs),
            bad_option(&batch.entropy),
            batch.advantages.isfinite().logical_not().sum(kind),
            bad(&self.ratio),
            largest(&self.log_ratio),
            bad_option(&self.kl),
            batch.ref_logprobs.as_ref().map_or_else(zero, |reference| largest(&(reference - &batch.logprobs))),
            bad_option(&self.factor),
        ];
        let numbers = Vec::<f64>::try_from(Tensor::cat(&[Tensor::stack(&measured, 0), Tensor::stack(&faults, 0)], 0))?;
        let stats = GrpoStats::from_numbers(std::array::from_fn(|i| numbers[i]), batch.entropy.is_some());
        stats.check(std::array::from_fn(|i| numbers[measured.len() + i]), config)?;
        // A part of a batch may be without a token.
        Ok(if stats.tokens > 0 { stats } else { GrpoStats { entropy: stats.entropy, ..GrpoStats::NOTHING } })
    }
}
