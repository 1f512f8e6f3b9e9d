//! The terms of the loss, each a function of tensors: ratio, policy loss, KL, corrections. Shape letters: `B` sequences, `T` tokens;
//! `[B, 1]` stands for a value that all tokens of a sequence share.

use tch::{Kind, Tensor};

use crate::batch::Batch;
use crate::config::{CispoCap, GrpoConfig, Importance, KlEstimator, KlGradient, KlWeight, Level, Objective, Outside};

/// `log π − log π_old` per token `[B, T]`, and the importance ratio, `[B, T]` or `[B, 1]`.
pub(crate) fn importance(
    logprobs: &Tensor,
    old_logprobs: &Tensor,
    counts: &Tensor,
    config: &GrpoConfig,
) -> (Tensor, Tensor) {
    let log_ratio = bounded(logprobs - old_logprobs, config.log_ratio_bound);
    let total = || log_ratio.sum_dim_intlist(1i64, true, None::<Kind>); // [B, 1]
    let ratio = match config.importance {
        Importance::Token => log_ratio.exp(),
        Importance::Sequence => (total() / counts).exp(),
        Importance::SequenceToken => (total() / counts).exp().detach() * (logprobs - logprobs.detach()).exp(),
        Importance::SequenceProduct => total().exp(),
    };
    (log_ratio, ratio)
}

/// The per-token policy loss, `[B, T]` or `[B, 1]`. `correction` is the sampler's, which VESPO folds into its weight.
pub(crate) fn policy_loss(
    Batch { logprobs, advantages, .. }: &Batch,
    log_ratio: &Tensor,
    ratio: &Tensor,
    correction: Option<&Tensor>,
    config: &GrpoConfig,
) -> Tensor {
    let (low, high) = (1.0 - config.epsilon, 1.0 + config.upper_epsilon());
    match config.objective {
        Objective::Clip => {
            let clipped = ratio.clamp(low, high) * advantages;
            let free = config.delta.map_or_else(|| ratio.shallow_clone(), |delta| ratio.clamp_max(delta)) * advantages;
            let loss = -free.minimum(&clipped);
            match config.dual_clip {
                Some(c) => loss.minimum(&(advantages * -c)).where_self(&advantages.lt(0.0), &loss),
                None => loss,
            }
        }
        Objective::Cispo { cap } => {
            let weight = match cap {
                CispoCap::Absolute => ratio.clamp_max(config.upper_epsilon()),
                CispoCap::Around => ratio.clamp(low, high),
            };
            -(weight.detach() * advantages * logprobs)
        }
        Objective::Sapo { temperature_positive, temperature_negative } => {
            let tau = by_sign(&advantages.gt(0.0), temperature_positive, temperature_negative, advantages);
            -(((ratio - 1.0) * &tau).sigmoid() * 4.0 / tau * advantages)
        }
        Objective::Vespo { k_positive, lambda_positive, k_negative, lambda_negative } => {
            let floor = 1e-8f64.ln();
            let mut log_weight = log_ratio.detach().clamp(-20.0, 20.0).sum_dim_intlist(1i64, true, None::<Kind>);
            if let Some(factor) = correction {
                log_weight += factor.log().clamp(floor, 20.0).sum_dim_intlist(1i64, true, None::<Kind>);
            }
            let log_weight = log_weight.clamp(floor, 20.0);
            let not_negative = advantages.ge(0.0);
            let k = by_sign(&not_negative, k_positive, k_negative, advantages);
            let lambda = by_sign(&not_negative, lambda_positive, lambda_negative, advantages);
            let phi = (&lambda + k * &log_weight - &lambda * log_weight.exp()).exp();
            -(phi * advantages * logprobs)
        }
        Objective::Unclipped => -(ratio * advantages),
        Objective::Reinforce => -(advantages * logprobs),
    }
}

/// Where a clip cut the gradient: below 1 − ε with A < 0, above the upper bound with A > 0. `[B, T]` or `[B, 1]` each.
pub(crate) fn clipped(ratio: &Tensor, advantages: &Tensor, config: &GrpoConfig) -> (Tensor, Tensor) {
    let upper = match config.objective {
        Objective::Clip | Objective::Cispo { cap: CispoCap::Around } => 1.0 + config.upper_epsilon(),
        Objective::Cispo { cap: CispoCap::Absolute } => config.upper_epsilon(),
        _ => f64::INFINITY,
    };
    let lower = match config.objective {
        Objective::Clip | Objective::Cispo { cap: CispoCap::Around } => 1.0 - config.epsilon,
        _ => f64::NEG_INFINITY,
    };
    (ratio.lt(lower).logical_and(&advantages.lt(0.0)), ratio.gt(upper).logical_and(&advantages.gt(0.0)))
}

/// The KL estimate of every token, weighted as configured, `[B, T]`.
pub(crate) fn kl(logprobs: &Tensor, ref_logprobs: &Tensor, ratio: &Tensor, config: &GrpoConfig) -> Tensor {
    let mut d = bounded(ref_logprobs - logprobs, config.kl_log_ratio_bound);
    if config.kl_bound.is_some() {
        // Here k3 is at any bound already, and the gradient of an exponential that overflows would be NaN.
        d = d.clamp_max(if d.kind() == Kind::Double { 700.0 } else { 80.0 });
    }
    let kl = match config.kl {
        KlEstimator::K1 => -d,
        KlEstimator::K2 => &d * &d * 0.5,
        KlEstimator::K3 => d.exp() - &d - 1.0,
        KlEstimator::Absolute => d.abs(),
    };
    let kl = bounded(kl, config.kl_bound);
    let kl = match config.kl_gradient {
        KlGradient::Own => kl,
        KlGradient::K2 => {
            let carrier = (logprobs - ref_logprobs).square() * 0.5;
            &carrier - carrier.detach() + kl.detach()
        }
    };
    match config.kl_weight {
        KlWeight::One => kl,
        KlWeight::Ratio => kl * ratio,
    }
}

/// The detached factor that corrects for the sampler's log-probabilities, `[B, T]` or `[B, 1]`.
pub(crate) fn sampler_factor(
    old_logprobs: &Tensor,
    sampler_logprobs: &Tensor,
    (level, outside, min, max): (Level, Outside, Option<f64>, f64),
) -> Tensor {
    let difference = (old_logprobs - sampler_logprobs).detach().nan_to_num(0.0, None::<f64>, None::<f64>);
    let weight = match level {
        Level::Token => difference,
        Level::Sequence => difference.sum_dim_intlist(1i64, true, None::<Kind>),
    }
    .exp();
    let min = min.unwrap_or(0.0); // An exponential is never below 0.
    match outside {
        Outside::Clamped => weight.clamp(min, max),
        Outside::Zeroed => {
            let inside = weight.ge(min).logical_and(&weight.le(max));
            weight.where_self(&inside, &weight.zeros_like())
        }
    }
}

/// 1 for the sequences that the off-policy mask keeps, 0 for the others; `[B, 1]` (`[B, T]` for advantages `[B, T]`).
pub(crate) fn off_policy_keep(batch: &Batch, threshold: f64) -> Tensor {
    let sampler_logprobs = batch.sampler_logprobs.as_ref().unwrap_or(&batch.old_logprobs);
    let drift = (sampler_logprobs - &batch.logprobs).detach().nan_to_num(0.0, None::<f64>, None::<f64>);
    let mean = drift.sum_dim_intlist(1i64, true, None::<Kind>) / &batch.counts; // [B, 1]
    batch.advantages.ge(0.0).logical_or(&mean.le(threshold)).to_kind(batch.kind())
}

/// `yes` or `no` by a condition, in the shape and kind of `like`.
fn by_sign(condition: &Tensor, yes: f64, no: f64, like: &Tensor) -> Tensor {
    like.full_like(yes).where_self(condition, &like.full_like(no))
}

/// `tensor` held in ±`bound`, if there is one.
fn bounded(tensor: Tensor, bound: Option<f64>) -> Tensor {
    match bound {
        Some(bound) => tensor.clamp(-bound, bound),
        None => tensor,
    }
}
