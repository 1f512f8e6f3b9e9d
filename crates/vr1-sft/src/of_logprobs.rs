use tch::{Kind, Tensor};
use vr1_ops::{check_alike, check_floating, check_rank};

use crate::config::{Normalizer, SftConfig};
use crate::labelled::{Labelled, SftStats, token_weights};
use crate::{Error, Result};

const MISSING: Error = Error::Missing { name: "mean_logprobs", reason: "`label_smoothing` is not 0" };

/// [`sft_loss`](crate::sft_loss) of a caller that never makes logits: log-probabilities of the labels in their place.
///
/// ```text
/// ℓ_t  = (1 − ε)·(−log p_t) + ε·(−mean_v log p_{t,v})   or   −sg(p_t)·log p_t   (DFT)
/// loss = Σ_i w_i Σ_t ℓ_{i,t} / Σ_i w_i N_i              over the tokens with mask ≠ 0
/// ```
///
/// The numbers come from a head that works on a few tokens at a time, such as [`vr1_ops::head_logprobs`]. Each stands at the place of its
/// own label, so that [`SftConfig::alignment`] has nothing left to say. Masked positions may hold anything, NaN included. Gradient flows
/// through `logprobs` and `mean_logprobs`; half precision is raised to f32.
///
/// `mean_logprobs`, the mean of `log p` over the vocabulary at each token, is looked at under label smoothing alone, which needs it.
/// `likeliest`, ≠ 0 where the label is the likeliest token, is for [`SftStats::accuracy`] alone, which is NaN without it.
///
/// # Shapes
/// `logprobs` `[B, T]`, or `[M]` for the labels of a ragged batch; `mask`, `mean_logprobs`, `likeliest` likewise; `weights` `[B]`, a
/// weight a sequence, or `[M]`, where each token has that of its sequence → a scalar.
///
/// # Errors
/// Those of [`weighted_sft_loss`](crate::weighted_sft_loss), but for labels, which are not seen; [`Error::Missing`] for label smoothing
/// without `mean_logprobs`.
///
/// # Example
/// Two labels of probabilities ¼ and ½; what stands in the padding does not matter.
/// ```
/// use tch::Tensor;
/// use vr1_sft::{SftConfig, sft_loss_of_logprobs};
/// let logprobs = Tensor::from_slice2(&[[0.25f64.ln(), f64::NAN], [0.5f64.ln(), 0.0]]);
/// let mask = Tensor::from_slice2(&[[1i64, 0], [1, 0]]);
/// let (loss, stats) = sft_loss_of_logprobs(&logprobs, &mask, None, None, None, &SftConfig::default())?;
/// assert!((loss.double_value(&[]) - (4f64.ln() + 2f64.ln()) / 2.0).abs() < 1e-12);
/// assert!(stats.tokens == 2 && stats.accuracy.is_nan());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sft_loss_of_logprobs(
    logprobs: &Tensor,
    mask: &Tensor,
    mean_logprobs: Option<&Tensor>,
    likeliest: Option<&Tensor>,
    weights: Option<&Tensor>,
    config: &SftConfig,
) -> Result<(Tensor, SftStats)> {
    config.validate()?;
    check_floating("logprobs", logprobs)?;
    if logprobs.dim() != 1 {
        check_rank("logprobs", logprobs, 2)?;
    }
    check_alike("mask", mask, "logprobs", logprobs)?;
    let epsilon = config.label_smoothing;
    let mean_logprobs = if epsilon == 0.0 { None } else { Some(mean_logprobs.ok_or(MISSING)?) };
    if let Some(mean) = mean_logprobs {
        check_alike("mean_logprobs", mean, "logprobs", logprobs)?;
        check_floating("mean_logprobs", mean)?;
    }
    if let Some(likeliest) = likeliest {
        check_alike("likeliest", likeliest, "logprobs", logprobs)?;
    }
    let kind = if logprobs.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    let keep = mask.f_ne(0)?;
    let weight = token_weights(&keep, weights, kind, "logprobs")?;

    // Only what counts is looked at: [N].
    let rows = keep.flatten(0, -1).nonzero().squeeze_dim(-1);
    let counted = |tensor: &Tensor| tensor.flatten(0, -1).index_select(0, &rows);
    let logprobs = counted(logprobs).to_kind(kind);
    if rows.numel() == 0 {
        return match config.normalizer {
            Normalizer::Local => Err(Error::NoLabels),
            Normalizer::Global(_) => Ok((logprobs.sum(kind), SftStats::NOTHING)),
        };
    }
    let labelled = Labelled {
        smoothed: mean_logprobs.map(|mean| &logprobs * (epsilon - 1.0) - counted(mean).to_kind(kind) * epsilon),
        nll: -logprobs,
        weight: counted(&weight),
        hits: likeliest.map(|likeliest| counted(likeliest).ne(0)),
    };
    labelled.reduce(["logprobs", "mean_logprobs"], config)
}
