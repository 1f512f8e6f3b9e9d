use tch::{Kind, Tensor};
use vr1_ops::{check_alike, check_device, check_floating, check_rank, check_shape};

use crate::{Error, Result};

/// Embeddings with noise on top (NEFTune), for training only.
///
/// ```text
/// out = embeddings + α / √(L · D) · noise,   noise uniform in [−1, 1]
/// ```
///
/// with `L` the length of a sequence, padding not counted, as the paper has it; the noise of padding is 0. The noise is handed in: this crate holds
/// no random numbers. Paper: [arXiv:2310.05914](https://arxiv.org/abs/2310.05914), algorithm 1. *Difference:* Hugging Face divides by
/// the padded length; hand in a mask of ones for that.
///
/// # Shapes
/// `embeddings`, `noise` `[B, T, D]`, `attention_mask [B, T]` → `[B, T, D]`.
///
/// # Errors
/// Shapes, kinds or devices that do not go together, an α that is negative or not finite.
///
/// # Example
/// α = 5, one sequence of 4 tokens of width 1, the last of them padding: 5/√3 times the noise.
/// ```
/// use tch::Tensor;
/// let (zeros, noise) = (Tensor::zeros([1, 4, 1], (tch::Kind::Double, tch::Device::Cpu)), Tensor::from_slice(&[1f64, -1.0, 0.5, 1.0]));
/// let mask = Tensor::from_slice2(&[[1i64, 1, 1, 0]]);
/// let out = vr1_sft::neftune(&zeros, &noise.view([1, 4, 1]), &mask, 5.0)?;
/// let unit = 5.0 / 3f64.sqrt();
/// assert_eq!(Vec::<f64>::try_from(out.flatten(0, -1))?, [unit, -unit, unit * 0.5, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn neftune(embeddings: &Tensor, noise: &Tensor, attention_mask: &Tensor, alpha: f64) -> Result<Tensor> {
    if !(alpha.is_finite() && alpha >= 0.0) {
        return Err(Error::Setting { field: "alpha", expected: "a finite number ≥ 0", got: alpha });
    }
    check_rank("embeddings", embeddings, 3)?;
    check_floating("embeddings", embeddings)?;
    check_alike("noise", noise, "embeddings", embeddings)?;
    check_floating("noise", noise)?;
    let (batch, tokens, width) = embeddings.size3()?;
    check_shape("attention_mask", attention_mask, "embeddings", &[batch, tokens])?;
    check_device("attention_mask", attention_mask, "embeddings", embeddings)?;
    let keep = attention_mask.ne(0).to_kind(Kind::Double);
    let lengths = keep.sum_dim_intlist(1i64, true, Kind::Double).clamp_min(1.0); // [B, 1]
    let size = (keep * (lengths * width).rsqrt() * alpha).unsqueeze(-1); // [B, T, 1]
    Ok(embeddings + noise.detach().to_kind(embeddings.kind()) * size.to_kind(embeddings.kind()))
}
