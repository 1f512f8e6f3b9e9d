use tch::{Tensor, no_grad};

use crate::batch::{Batch, Given, accumulation};
use crate::config::{Aggregation, EmptyRows, EntropyMask, GrpoConfig, Normalizer, Objective};
use crate::stats::{GrpoStats, Terms};
use crate::{Error, Result, policy};

/// Tensors that some settings need beside the five of [`grpo_loss`]; see [`grpo_loss_with`].
///
/// # Example
/// ```
/// let entropy = tch::Tensor::from_slice2(&[[0.5f64]]);
/// let extras = vr1_grpo::Extras { entropy: Some(&entropy), ..Default::default() };
/// assert!(extras.sampler_logprobs.is_none());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// The entropy of the policy at every token, `[B, T]`, in nats. The entropy mask and the entropy bonus need it; with a bonus, gradient
    /// flows through it.
    pub entropy: Option<&'a Tensor>,
    /// The log-probabilities that the sampler itself reported, `[B, T]`; NaN where it could not say. The sampler correction needs
    /// them.
    pub sampler_logprobs: Option<&'a Tensor>,
}

/// The loss of group relative policy optimisation and of its family.
///
/// ```text
/// w_t  = exp(log π_t − log π_old,t)
/// ℓ_t  = −min(w_t·A, clamp(w_t, 1 − ε, 1 + ε_high)·A) + β·kl_t
/// kl_t = exp(d_t) − d_t − 1,   d_t = log π_ref,t − log π_t
/// loss = 1/B · Σ_i 1/N_i · Σ_t ℓ_{i,t}
/// ```
///
/// That is the default, GRPO as in DeepSeekMath ([arXiv:2402.03300](https://arxiv.org/abs/2402.03300), equation 3); every other member of the
/// family is a setting of [`GrpoConfig`]. Gradient flows through `logprobs` alone. Masked positions may hold anything, NaN included.
/// On-policy, `old_logprobs` is `logprobs` detached, and the ratio is exactly 1.
///
/// # Shapes
/// `logprobs`, `old_logprobs`, `ref_logprobs`, `completion_mask` `[B, T]`; `advantages` `[B]`, or `[B, T]` where credit differs from token
/// to token → a scalar.
///
/// # Errors
/// A setting out of range; a missing tensor; shapes, kinds or devices that do not go together (both named); NaN or ±∞ at positions that
/// count; a mask that is 0 everywhere (unless [`Normalizer::Global`] says that the batch is only a part); an exponential that overflows.
///
/// # Example
/// One completion of two tokens, advantage 1. The first token's probability grew by the factor 1.5, which clips at 1.2; the second's is
/// unchanged: loss = −(1.2 + 1)/2.
/// ```
/// use tch::Tensor;
/// use vr1_grpo::{GrpoConfig, grpo_loss};
/// let old = Tensor::from_slice2(&[[0.2f64.ln(), 0.5f64.ln()]]);
/// let new = Tensor::from_slice2(&[[0.3f64.ln(), 0.5f64.ln()]]).set_requires_grad(true);
/// let (advantages, mask) = (Tensor::from_slice(&[1f64]), Tensor::from_slice2(&[[1i64, 1]]));
/// let config = GrpoConfig { beta: 0.0, ..Default::default() };
/// let (loss, stats) = grpo_loss(&new, &old, None, &advantages, &mask, &config)?;
/// assert!((loss.double_value(&[]) + 1.1).abs() < 1e-12);
/// assert_eq!(stats.clip_ratio, 0.5);
/// loss.backward(); // The clipped token learns nothing; d loss / d log π of the other is −w·A/2.
/// assert_eq!(Vec::<f64>::try_from(new.grad().flatten(0, -1))?, [0.0, -0.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn grpo_loss(
    logprobs: &Tensor,
    old_logprobs: &Tensor,
    ref_logprobs: Option<&Tensor>,
    advantages: &Tensor,
    completion_mask: &Tensor,
    config: &GrpoConfig,
) -> Result<(Tensor, GrpoStats)> {
    grpo_loss_with(logprobs, old_logprobs, ref_logprobs, advantages, completion_mask, Extras::default(), config)
}

/// [`grpo_loss`] with the tensors that entropy and sampler settings need.
///
/// ```text
/// ℓ_t  = policy_t · off_policy_keep · [H_t ≥ threshold] · sampler_factor_t + β·kl_t
/// loss = aggregate(ℓ) − entropy_bonus · mean_t H_t
/// ```
///
/// # Shapes
/// Those of [`grpo_loss`]; [`Extras`] `[B, T]` each.
///
/// # Errors
/// Those of [`grpo_loss`]; [`Error::Missing`] names the tensor that a setting needs.
///
/// # Example
/// An on-policy token with advantage 1 and an entropy bonus of 0.1 at ½ nat: loss = −1 − 0.05.
/// ```
/// use tch::Tensor;
/// use vr1_grpo::{Extras, GrpoConfig, grpo_loss_with};
/// let (logprobs, entropy) = (Tensor::from_slice2(&[[-1f64]]), Tensor::from_slice2(&[[0.5f64]]));
/// let (advantages, mask) = (Tensor::from_slice(&[1f64]), Tensor::from_slice2(&[[1i64]]));
/// let config = GrpoConfig { beta: 0.0, entropy_bonus: 0.1, ..Default::default() };
/// let extras = Extras { entropy: Some(&entropy), ..Default::default() };
/// let (loss, _) = grpo_loss_with(&logprobs, &logprobs, None, &advantages, &mask, extras, &config)?;
/// assert!((loss.double_value(&[]) + 1.05).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn grpo_loss_with(
    logprobs: &Tensor,
    old_logprobs: &Tensor,
    ref_logprobs: Option<&Tensor>,
    advantages: &Tensor,
    completion_mask: &Tensor,
    extras: Extras<'_>,
    config: &GrpoConfig,
) -> Result<(Tensor, GrpoStats)> {
    config.validate()?;
    check_needs(ref_logprobs, extras, config)?;
    let given = Given { logprobs, old_logprobs, ref_logprobs, advantages, completion_mask, extras };
    let Some(batch) = Batch::of(given)? else {
        // Not a single position.
        return match config.normalizer {
            Normalizer::Local => Err(Error::EmptyMask),
            Normalizer::Global { .. } => Ok((logprobs.f_sum(accumulation(logprobs))?, GrpoStats::NOTHING)),
        };
    };
    let (log_ratio, ratio) = policy::importance(&batch.logprobs, &batch.old_logprobs, &batch.counts, config);
    let factor = config
        .sampler_correction
        .parts()
        .zip(batch.sampler_logprobs.as_ref())
        .map(|(parts, sampler)| policy::sampler_factor(&batch.old_logprobs, sampler, parts));
    let active = batch.active(config)?; // [B, T]
    let mut weight = active.to_kind(batch.kind());
    if let Some(threshold) = config.off_policy_threshold {
        weight *= policy::off_policy_keep(&batch, threshold);
    }
    let carried = weight.gt(0.0);
    let per_token = policy::policy_loss(&batch, &log_ratio, &ratio, factor.as_ref(), config) * weight; // [B, T]
    let per_token = match &factor {
        Some(factor) if !matches!(config.objective, Objective::Vespo { .. }) => per_token * factor,
        _ => per_token,
    };
    let policy_loss = aggregate(&per_token, &batch, config);
    let kl = batch.ref_logprobs.as_ref().map(|reference| policy::kl(&batch.logprobs, reference, &ratio, config));
    let mut loss = policy_loss.shallow_clone();
    if let (Some(kl), true) = (&kl, config.beta != 0.0) {
        loss = &loss + aggregate(kl, &batch, config) * config.beta;
    }
    if let (Some(entropy), true) = (&batch.entropy, config.entropy_bonus != 0.0) {
        loss = &loss - mean_entropy(entropy, &active, config) * config.entropy_bonus;
    }
    let terms = Terms { batch, log_ratio, ratio, factor, carried, kl, policy_loss };
    let stats = no_grad(|| terms.stats(&loss, config))?;
    Ok((loss, stats))
}

/// That every tensor which the settings call for has been handed in.
fn check_needs(ref_logprobs: Option<&Tensor>, extras: Extras<'_>, config: &GrpoConfig) -> Result<()> {
    if config.beta != 0.0 && ref_logprobs.is_none() {
        return Err(Error::Missing { name: "ref_logprobs", reason: "`beta` is not 0" });
    }
    let needs_entropy = config.entropy_bonus != 0.0 || config.entropy_mask != EntropyMask::All;
    if needs_entropy && extras.entropy.is_none() {
        return Err(Error::Missing { name: "entropy", reason: "`entropy_bonus` or `entropy_mask` is set" });
    }
    if config.sampler_correction.parts().is_some() && extras.sampler_logprobs.is_none() {
        return Err(Error::Missing { name: "sampler_logprobs", reason: "`sampler_correction` is set" });
    }
    Ok(())
}

/// One number from `[B, T]` values that are 0 wherever the mask is.
fn aggregate(values: &Tensor, batch: &Batch, config: &GrpoConfig) -> Tensor {
    let kind = values.kind();
    let sequences = || match (config.normalizer, config.empty_rows) {
        (Normalizer::Global { sequences, .. }, _) => Tensor::from(sequences).to_device(values.device()),
        (Normalizer::Local, EmptyRows::Counted) => Tensor::from(values.size()[0]).to_device(values.device()),
        (Normalizer::Local, EmptyRows::Skipped) => batch.keep.any_dim(1, false).sum(kind).clamp_min(1.0),
    };
    match config.aggregation {
        Aggregation::Sequence => (values / &batch.counts).sum(kind) / sequences(),
        Aggregation::Token => match config.normalizer {
            Normalizer::Local => values.sum(kind) / batch.keep.sum(kind).clamp_min(1.0),
            Normalizer::Global { tokens, .. } => values.sum(kind) / tokens,
        },
        Aggregation::Constant(tokens) => values.sum(kind) / (sequences() * tokens),
        Aggregation::SequenceSum => values.sum(kind) / sequences(),
    }
}

/// The mean entropy of the tokens that the entropy mask keeps.
fn mean_entropy(entropy: &Tensor, active: &Tensor, config: &GrpoConfig) -> Tensor {
    let kind = entropy.kind();
    let total = (entropy * active.to_kind(kind)).sum(kind);
    match config.normalizer {
        Normalizer::Local => total / active.sum(kind).clamp_min(1.0),
        Normalizer::Global { tokens, .. } => total / config.entropy_tokens.unwrap_or(tokens),
    }
}
