use tch::{Kind, Tensor, no_grad};
use vr1_ops::{check_alike, check_device, check_floating, check_rank, check_shape, masked_select_or_zero};

use crate::config::{Aggregation, EmptyRows, EntropyMask, GrpoConfig, Normalizer, Objective};
use crate::masks::entropy_threshold;
use crate::stats::GrpoStats;
use crate::{Error, Result, policy};

/// Tensors that some settings need beside the five of [`grpo_loss`].
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
    check_tensors(logprobs, old_logprobs, ref_logprobs, advantages, completion_mask, extras)?;
    let needs_entropy = config.entropy_bonus != 0.0 || config.entropy_mask != EntropyMask::All;
    if config.beta != 0.0 && ref_logprobs.is_none() {
        return Err(Error::Missing { name: "ref_logprobs", reason: "`beta` is not 0" });
    }
    if needs_entropy && extras.entropy.is_none() {
        return Err(Error::Missing { name: "entropy", reason: "`entropy_bonus` or `entropy_mask` is set" });
    }
    let correction = config.sampler_correction.parts();
    if correction.is_some() && extras.sampler_logprobs.is_none() {
        return Err(Error::Missing { name: "sampler_logprobs", reason: "`sampler_correction` is set" });
    }

    // From here on only counted positions hold anything but 0: they are selected before any arithmetic.
    let kind = if logprobs.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    let keep = completion_mask.ne(0); // [B, T]
    let select = |tensor: &Tensor| -> Result<Tensor> { Ok(masked_select_or_zero(&tensor.to_kind(kind), &keep)?) };
    let counts = keep.sum_dim_intlist(1i64, true, kind).clamp_min(1.0); // [B, 1]
    let logprobs = select(logprobs)?;
    let old_logprobs = select(&old_logprobs.detach())?;
    let ref_logprobs = ref_logprobs.map(|tensor| select(&tensor.detach())).transpose()?;
    let entropy = extras.entropy.map(&select).transpose()?;
    let sampler_logprobs = extras.sampler_logprobs.map(|tensor| select(&tensor.detach())).transpose()?;
    let advantages = match advantages.dim() {
        1 => advantages.detach().to_kind(kind).unsqueeze(1), // [B, 1]
        _ => select(&advantages.detach())?,                  // [B, T]
    };

    let (log_ratio, ratio) = policy::importance(&logprobs, &old_logprobs, &counts, config);
    let factor = correction
        .zip(sampler_logprobs.as_ref())
        .map(|(parts, sampler)| policy::sampler_factor(&old_logprobs, sampler, parts));
    let mut active = keep.shallow_clone();
    if let Some(entropy) = &entropy {
        let threshold = match config.entropy_mask {
            EntropyMask::All => None,
            EntropyMask::Top(share) => Some(entropy_threshold(&entropy.detach(), &keep, share)?),
            EntropyMask::AtLeast(threshold) => Some(threshold),
        };
        if let Some(threshold) = threshold {
            active = active.logical_and(&entropy.detach().ge(threshold));
        }
    }
    let mut weight = active.to_kind(kind);
    if let Some(threshold) = config.off_policy_threshold {
        let sampler = sampler_logprobs.as_ref().unwrap_or(&old_logprobs);
        weight *= policy::off_policy_keep(&logprobs, sampler, &advantages, &counts, threshold);
    }
    let carried = weight.gt(0.0);
    let per_token = policy::policy_loss(&logprobs, &log_ratio, &ratio, &advantages, factor.as_ref(), config);
    let per_token = per_token * weight; // [B, T]
    let per_token = match &factor {
        Some(factor) if !matches!(config.objective, Objective::Vespo { .. }) => per_token * factor,
        _ => per_token,
    };

    let policy_loss = aggregate(&per_token, &keep, &counts, config);
    let mut loss = policy_loss.shallow_clone();
    let kl = ref_logprobs.as_ref().map(|reference| {
        let kl = policy::kl(&logprobs, reference, config);
        match config.kl_weight {
            crate::KlWeight::One => kl,
            crate::KlWeight::Ratio => kl * &ratio,
        }
    });
    if let (Some(kl), true) = (&kl, config.beta != 0.0) {
        loss = loss.g_add(&(aggregate(kl, &keep, &counts, config) * config.beta));
    }
    if let (Some(entropy), true) = (&entropy, config.entropy_bonus != 0.0) {
        let total = (entropy * active.to_kind(kind)).sum(kind);
        let mean = match config.normalizer {
            Normalizer::Local => total / active.sum(kind).clamp_min(1.0),
            Normalizer::Global { tokens, .. } => total / tokens,
        };
        loss = loss.g_sub(&(mean * config.entropy_bonus));
    }

    let terms = Terms {
        keep,
        logprobs,
        old_logprobs,
        ref_logprobs,
        entropy,
        advantages,
        log_ratio,
        ratio,
        factor,
        carried,
        kl,
        policy_loss,
    };
    let stats = no_grad(|| terms.stats(&loss, config))?;
    Ok((loss, stats))
}

/// Ranks, shapes, kinds and devices of everything handed in.
fn check_tensors(
    logprobs: &Tensor,
    old_logprobs: &Tensor,
    ref_logprobs: Option<&Tensor>,
    advantages: &Tensor,
    completion_mask: &Tensor,
    extras: Extras<'_>,
) -> Result<()> {
    check_rank("logprobs", logprobs, 2)?;
    check_floating("logprobs", logprobs)?;
    let others = [
        ("old_logprobs", Some(old_logprobs)),
        ("ref_logprobs", ref_logprobs),
        ("entropy", extras.entropy),
        ("sampler_logprobs", extras.sampler_logprobs),
    ];
    for (name, tensor) in others {
        if let Some(tensor) = tensor {
            check_alike(name, tensor, "logprobs", logprobs)?;
            check_floating(name, tensor)?;
        }
    }
    check_alike("completion_mask", completion_mask, "logprobs", logprobs)?;
    let expected = if advantages.dim() == 2 { logprobs.size() } else { vec![logprobs.size()[0]] };
    check_shape("advantages", advantages, "logprobs", &expected)?;
    check_device("advantages", advantages, "logprobs", logprobs)?;
    Ok(check_floating("advantages", advantages)?)
}

/// One number from `[B, T]` values that are 0 wherever `keep` is.
fn aggregate(values: &Tensor, keep: &Tensor, counts: &Tensor, config: &GrpoConfig) -> Tensor {
    let kind = values.kind();
    let sequences = || match (config.normalizer, config.empty_rows) {
        (Normalizer::Global { sequences, .. }, _) => Tensor::from(sequences).to_device(values.device()),
        (Normalizer::Local, EmptyRows::Counted) => Tensor::from(values.size()[0]).to_device(values.device()),
        (Normalizer::Local, EmptyRows::Skipped) => keep.any_dim(1, false).sum(kind).clamp_min(1.0),
    };
    match config.aggregation {
        Aggregation::Sequence => (values / counts).sum(kind) / sequences(),
        Aggregation::Token => match config.normalizer {
            Normalizer::Local => values.sum(kind) / keep.sum(kind).clamp_min(1.0),
            Normalizer::Global { tokens, .. } => values.sum(kind) / tokens,
        },
        Aggregation::Constant(tokens) => values.sum(kind) / (sequences() * tokens),
        Aggregation::SequenceSum => values.sum(kind) / sequences(),
    }
}

/// Everything that statistics and the last checks look at.
struct Terms {
    keep: Tensor,
    logprobs: Tensor,
    old_logprobs: Tensor,
    ref_logprobs: Option<Tensor>,
    entropy: Option<Tensor>,
    advantages: Tensor,
    log_ratio: Tensor,
    ratio: Tensor,
    factor: Option<Tensor>,
    carried: Tensor,
    kl: Option<Tensor>,
    policy_loss: Tensor,
}

impl Terms {
    /// Statistics and the checks on values, read back from the device in one transfer.
    fn stats(&self, loss: &Tensor, config: &GrpoConfig) -> Result<GrpoStats> {
        let kind = Kind::Double;
        let keep = &self.keep;
        let tokens = keep.sum(kind);
        let zero = || tokens.zeros_like();
        // Masked-in values of a [B, T] or [B, 1] tensor, `filler` elsewhere.
        let spread = |tensor: &Tensor, filler: f64| {
            let wide = tensor.detach().to_kind(kind).expand_as(keep);
            wide.where_self(keep, &wide.full_like(filler))
        };
        let mean = |tensor: &Tensor| spread(tensor, 0.0).sum(kind) / tokens.clamp_min(1.0);
        let bad = |tensor: &Tensor| spread(tensor, 0.0).isfinite().logical_not().sum(kind);
        let bad_option = |tensor: &Option<Tensor>| tensor.as_ref().map_or_else(zero, bad);
        let largest = |tensor: &Tensor| spread(tensor, 0.0).abs().max();
        let (low, high) = policy::clipped(&self.ratio, &self.advantages, config);
        let reference_gap =
            self.ref_logprobs.as_ref().map_or_else(zero, |reference| largest(&(reference - &self.logprobs)));
        let old_kl = self.log_ratio.exp() - &self.log_ratio - 1.0;
        let values = [
            loss.detach().to_kind(kind),
            self.policy_loss.detach().to_kind(kind),
            self.kl.as_ref().map_or_else(zero, mean),
            self.entropy.as_ref().map_or_else(zero, mean),
            mean(&self.ratio),
            spread(&self.ratio, f64::INFINITY).min(),
            spread(&self.ratio, f64::NEG_INFINITY).max(),
            mean(&low),
            mean(&high),
            mean(&old_kl),
            mean(&self.advantages),
            mean(&self.carried),
            self.factor.as_ref().map_or_else(|| tokens.ones_like(), mean),
            tokens.shallow_clone(),
            keep.any_dim(1, false).sum(kind),
            bad(&self.logprobs),
            bad(&self.old_logprobs),
            bad_option(&self.ref_logprobs),
            bad_option(&self.entropy),
            self.advantages.isfinite().logical_not().sum(kind),
            bad(&self.ratio),
            largest(&self.log_ratio),
            bad_option(&self.kl),
            reference_gap,
            bad_option(&self.factor),
        ];
        let v = Vec::<f64>::try_from(Tensor::stack(&values, 0))?;
        let names = ["logprobs", "old_logprobs", "ref_logprobs", "entropy", "advantages"];
        for (name, &count) in names.into_iter().zip(&v[15..20]) {
            if count > 0.0 {
                return Err(Error::NonFinite { name, count: count as i64 });
            }
        }
        if v[13] == 0.0 && config.normalizer == Normalizer::Local {
            return Err(Error::EmptyMask);
        }
        if v[20] > 0.0 || !v[0].is_finite() && v[22] == 0.0 {
            return Err(Error::Overflow { name: "ratio", log_ratio: v[21] });
        }
        if v[22] > 0.0 && config.beta != 0.0 {
            return Err(Error::Overflow { name: "kl", log_ratio: v[23] });
        }
        if v[24] > 0.0 {
            return Err(Error::NonFinite { name: "sampler_logprobs", count: v[24] as i64 });
        }
        Ok(GrpoStats {
            loss: v[0],
            policy_loss: v[1],
            kl: v[2],
            entropy: self.entropy.as_ref().map(|_| v[3]),
            ratio_mean: v[4],
            ratio_min: v[5],
            ratio_max: v[6],
            clip_ratio: v[7] + v[8],
            clip_ratio_low: v[7],
            clip_ratio_high: v[8],
            old_kl: v[9],
            advantage_mean: v[10],
            active: v[11],
            sampler_ratio_mean: v[12],
            tokens: v[13] as i64,
            sequences: v[14] as i64,
        })
    }
}
