use tch::{Kind, Tensor};
use vr1_ops::{check_alike, check_floating, check_rank};

use crate::range::within;
use crate::{Error, Result};

/// A completion mask in which completions that were cut off count for nothing.
///
/// ```text
/// out_{i,t} = mask_{i,t}  if completion i finished
///             0           otherwise
/// ```
///
/// A completion that reached the length limit shows no end, and its reward says little about its tokens (DAPO's overlong filtering,
/// [arXiv:2503.14476](https://arxiv.org/abs/2503.14476), section 3.4; `mask_truncated_completions` in TRL). Whether such rows still count as
/// sequences is [`EmptyRows`](crate::EmptyRows).
///
/// # Shapes
/// `completion_mask [B, T]`, `finished [B]` → `[B, T]`, of the mask's kind.
///
/// # Errors
/// A mask that is not `[B, T]`, or another number of completions.
///
/// # Example
/// ```
/// use tch::Tensor;
/// let mask = Tensor::from_slice2(&[[1i64, 1], [1, 0]]);
/// let out = vr1_grpo::mask_truncated(&mask, &[false, true])?;
/// assert_eq!(Vec::<i64>::try_from(out.flatten(0, -1))?, [0, 0, 1, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn mask_truncated(completion_mask: &Tensor, finished: &[bool]) -> Result<Tensor> {
    check_rank("completion_mask", completion_mask, 2)?;
    let expected = completion_mask.size()[0] as usize;
    if finished.len() != expected {
        return Err(Error::Length { name: "finished", with: "completion_mask", expected, got: finished.len() });
    }
    let keep = Tensor::from_slice(finished).to_device(completion_mask.device()).unsqueeze(1); // [B, 1]
    Ok(completion_mask.f_mul(&keep.to_kind(completion_mask.kind()))?)
}

/// The entropy that the given share of the counted tokens reaches.
///
/// ```text
/// threshold = quantile_{1 − share}(H)   over the counted tokens, linearly interpolated
/// ```
///
/// Take it over a whole batch and hand it to every part as [`EntropyMask::AtLeast`](crate::EntropyMask::AtLeast), so that the parts keep the
/// same tokens as the whole. Paper: [arXiv:2506.01939](https://arxiv.org/abs/2506.01939).
///
/// # Shapes
/// `entropy`, `completion_mask` of one shape → a number in nats.
///
/// # Errors
/// Different shapes, a share outside `(0, 1]`, NaN or ±∞ where it counts, or a mask that is 0 everywhere.
///
/// # Example
/// ```
/// use tch::Tensor;
/// let entropy = Tensor::from_slice2(&[[0f32, 1.0, 2.0, 3.0, 4.0, f32::NAN]]);
/// let mask = Tensor::from_slice2(&[[1i64, 1, 1, 1, 1, 0]]);
/// assert_eq!(vr1_grpo::entropy_threshold(&entropy, &mask, 0.25)?, 3.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn entropy_threshold(entropy: &Tensor, completion_mask: &Tensor, share: f64) -> Result<f64> {
    check_floating("entropy", entropy)?;
    check_alike("completion_mask", completion_mask, "entropy", entropy)?;
    within("share", "in (0, 1]", share, share > 0.0 && share <= 1.0)?;
    let counted = entropy.detach().masked_select(&completion_mask.f_ne(0)?);
    let n = counted.numel();
    if n == 0 {
        return Err(Error::EmptyMask);
    }
    // Sorting has no limit on its length; libtorch's quantile stops at 2^24 values.
    let kind = if counted.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    let sorted = counted.to_kind(kind).sort(0, false).0;
    let place = (1.0 - share) * (n - 1) as f64;
    // NaN sorts last, −∞ first.
    let places = [0, n as i64 - 1, place.floor() as i64, place.ceil() as i64];
    let places = Tensor::from_slice(&places).to_device(sorted.device());
    let values = Vec::<f64>::try_from(sorted.index_select(0, &places).to_kind(Kind::Double))?;
    let (lowest, highest, below, above) = (values[0], values[1], values[2], values[3]);
    if !(lowest.is_finite() && highest.is_finite()) {
        let count = sorted.isfinite().logical_not().sum(Kind::Int64).int64_value(&[]);
        return Err(Error::NonFinite { name: "entropy", count });
    }
    let threshold = below + (above - below) * place.fract();
    Ok(if kind == Kind::Float { f64::from(threshold as f32) } else { threshold })
}
