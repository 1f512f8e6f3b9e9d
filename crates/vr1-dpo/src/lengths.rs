use tch::{Kind, Tensor};
use vr1_ops::{check_alike, check_floating, check_rank, masked_row_mean, masked_select_or_zero};

use crate::batch::accumulation;

use crate::Result;
use crate::range::within;

/// Log-probabilities of whole completions in which the tokens that one of a pair has more than the other weigh α (LD-DPO).
///
/// ```text
/// n   = min(|y_w|, |y_l|)
/// out = Σ_{t ≤ n} log π_t + α · Σ_{t > n} log π_t
/// ```
///
/// `α = 1` is the plain sum, `α = 0` compares equal lengths. Take it of policy and reference alike. Paper:
/// [arXiv:2409.06411](https://arxiv.org/abs/2409.06411).
///
/// # Shapes
/// `chosen_logprobs`, `chosen_mask` `[B, T]`, `rejected_logprobs`, `rejected_mask` `[B, T']` → `([B], [B])`, in f32 (f64 for f64 input). Masked
/// positions may hold anything.
///
/// # Errors
/// [`Error::Setting`](crate::Error::Setting) for an α outside `[0, 1]`; shapes that do not go together.
///
/// # Example
/// ```
/// use tch::Tensor;
/// let (chosen, rejected) = (Tensor::from_slice2(&[[-1f64, -2.0, -4.0]]), Tensor::from_slice2(&[[-1f64, -1.0, 0.0]]));
/// let (long, short) = (Tensor::from_slice2(&[[1i64, 1, 1]]), Tensor::from_slice2(&[[1i64, 1, 0]]));
/// let (chosen, rejected) = vr1_dpo::length_desensitized(&chosen, &long, &rejected, &short, 0.5)?;
/// assert_eq!((chosen.double_value(&[0]), rejected.double_value(&[0])), (-5.0, -2.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn length_desensitized(
    chosen_logprobs: &Tensor,
    chosen_mask: &Tensor,
    rejected_logprobs: &Tensor,
    rejected_mask: &Tensor,
    alpha: f64,
) -> Result<(Tensor, Tensor)> {
    within("alpha", "in [0, 1]", alpha, (0.0..=1.0).contains(&alpha))?;
    check_rank("chosen_logprobs", chosen_logprobs, 2)?;
    check_rank("rejected_logprobs", rejected_logprobs, 2)?;
    check_floating("chosen_logprobs", chosen_logprobs)?;
    check_floating("rejected_logprobs", rejected_logprobs)?;
    check_alike("chosen_mask", chosen_mask, "chosen_logprobs", chosen_logprobs)?;
    check_alike("rejected_mask", rejected_mask, "rejected_logprobs", rejected_logprobs)?;
    let batch = chosen_logprobs.size()[0];
    vr1_ops::check_shape(
        "rejected_logprobs",
        rejected_logprobs,
        "chosen_logprobs",
        &[batch, rejected_logprobs.size()[1]],
    )?;
    let length = |mask: &Tensor| mask.ne(0).sum_dim_intlist(1i64, true, Kind::Int64); // [B, 1]
    let shared = length(chosen_mask).minimum(&length(rejected_mask));
    let sum = |logprobs: &Tensor, mask: &Tensor| -> Result<Tensor> {
        let logprobs = logprobs.to_kind(accumulation(logprobs));
        let head = mask.ne(0).cumsum(1, Kind::Int64).le_tensor(&shared).to_kind(logprobs.kind()); // [B, T]
        let weight = &head + (head.ones_like() - &head) * alpha;
        Ok((masked_select_or_zero(&logprobs, mask)? * weight).sum_dim_intlist(1i64, false, None::<Kind>))
    };
    Ok((sum(chosen_logprobs, chosen_mask)?, sum(rejected_logprobs, rejected_mask)?))
}

/// The weight of a pair that says how likely the policy itself was to write it (WPO).
///
/// ```text
/// w(y) = exp(mean_t(log π_t − log Σ_v π_t(v)²)),   out = w(y_w) · w(y_l)
/// ```
///
/// Hand it in as [`Extras::weights`](crate::Extras::weights). Paper: [arXiv:2406.11827](https://arxiv.org/abs/2406.11827), equation 2 with its
/// alignment of the weights.
///
/// # Shapes
/// For each completion `(logprobs, log_sum_squares, mask)`, `[B, T]` each; `log_sum_squares = log Σ_v π_t(v)²` → `[B]`, without gradient.
///
/// # Errors
/// Shapes that do not go together, or values that are not floating-point.
///
/// # Example
/// A policy that finds its tokens as likely as a token is on average has weight 1:
/// ```
/// use tch::Tensor;
/// let (logprobs, mask) = (Tensor::from_slice2(&[[0.5f64.ln(), f64::NAN]]), Tensor::from_slice2(&[[1i64, 0]]));
/// let squares = Tensor::from_slice2(&[[0.5f64.ln(), 0.0]]); // ½² + ½² = ½
/// let weights = vr1_dpo::wpo_weights([&logprobs, &squares, &mask], [&logprobs, &squares, &mask])?;
/// assert_eq!(weights.double_value(&[0]), 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wpo_weights(chosen: [&Tensor; 3], rejected: [&Tensor; 3]) -> Result<Tensor> {
    let weight = |[logprobs, log_sum_squares, mask]: [&Tensor; 3]| -> Result<Tensor> {
        check_rank("logprobs", logprobs, 2)?;
        check_floating("logprobs", logprobs)?;
        check_alike("log_sum_squares", log_sum_squares, "logprobs", logprobs)?;
        let kind = accumulation(logprobs);
        let gap = logprobs.detach().to_kind(kind) - log_sum_squares.detach().to_kind(kind);
        Ok(masked_row_mean(&gap, mask)?.exp())
    };
    let (chosen, rejected) = (weight(chosen)?, weight(rejected)?);
    check_alike("rejected", &rejected, "chosen", &chosen)?;
    Ok(chosen * rejected)
}
