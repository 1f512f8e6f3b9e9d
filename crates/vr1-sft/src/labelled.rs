//! What every form of the loss shares, once the losses of tokens are known.

use tch::{Kind, Tensor, no_grad};
use vr1_ops::{check_device, check_shape};

use crate::config::{Normalizer, Objective, SftConfig};
use crate::{Error, Result};

/// What a supervised loss says about its batch; plain numbers without gradient. Without a label, all are 0. See
/// [`sft_loss`](crate::sft_loss).
///
/// # Example
/// One label of probability ¼, which is not the likeliest token.
/// ```
/// use tch::Tensor;
/// use vr1_sft::{SftConfig, sft_loss};
/// let logits = Tensor::from_slice(&[1f64.ln(), 3f64.ln(), 0.0, 0.0]).view([1, 2, 2]);
/// let (_, stats) = sft_loss(&logits, &Tensor::from_slice2(&[[-100i64, 0]]), &SftConfig::default())?;
/// assert!((stats.nll - 4f64.ln()).abs() < 1e-12);
/// assert_eq!((stats.accuracy, stats.tokens), (0.0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SftStats {
    /// The loss itself.
    pub loss: f64,
    /// The mean of `−log p` over the labels, whatever the objective and the weights.
    pub nll: f64,
    /// The share of labels that are the likeliest token; NaN where nobody said which are, see
    /// [`sft_loss_of_logprobs`](crate::sft_loss_of_logprobs).
    pub accuracy: f64,
    /// How many labels were counted.
    pub tokens: i64,
}

impl SftStats {
    /// Those of a part of a batch without a label.
    pub(crate) const NOTHING: Self = Self { loss: 0.0, nll: 0.0, accuracy: 0.0, tokens: 0 };
}

/// The labels that count, at least one, `[N]` each.
pub(crate) struct Labelled {
    /// `−log p`.
    pub(crate) nll: Tensor,
    /// `(1 − ε)·nll + ε·mean_v(−log p_v)`, where labels are smoothed.
    pub(crate) smoothed: Option<Tensor>,
    /// What a label weighs.
    pub(crate) weight: Tensor,
    /// Whether it is the likeliest token, where that is known.
    pub(crate) hits: Option<Tensor>,
}

impl Labelled {
    /// The loss and its statistics. Where a value is not finite, the error calls what `nll` came from by the first name, and what else
    /// `smoothed` came from by the second.
    pub(crate) fn reduce(self, names: [&'static str; 2], config: &SftConfig) -> Result<(Tensor, SftStats)> {
        let Self { nll, smoothed, weight, hits } = self;
        let kind = nll.kind();
        let losses = match (config.objective, &smoothed) {
            (Objective::CrossEntropy, None) => nll.shallow_clone(),
            (Objective::CrossEntropy, Some(smoothed)) => smoothed.shallow_clone(),
            (Objective::Dft, _) => &nll * (-nll.detach()).exp(),
        };
        // Shares first: the gradient of `sum / count` is `weight · (1 / count)`, infinite for a tiny count although the loss is not.
        let shares = match config.normalizer {
            Normalizer::Local => &weight / weight.sum(kind),
            Normalizer::Global(tokens) => &weight / tokens,
        };
        let loss = (losses * shares).sum(kind);
        let stats = no_grad(|| {
            let nll = nll.mean(Kind::Double);
            let hits = match hits {
                Some(hits) => hits.to_kind(Kind::Double).mean(Kind::Double),
                None => nll.full_like(f64::NAN),
            };
            Vec::<f64>::try_from(Tensor::stack(&[loss.to_kind(Kind::Double), nll, hits, weight.sum(Kind::Double)], 0))
        })?;
        let [loss_value, nll_value, accuracy, weights] = [0, 1, 2, 3].map(|i: usize| stats[i]);
        if weights == 0.0 && config.normalizer == Normalizer::Local {
            return Err(Error::NoLabels);
        }
        if !loss_value.is_finite() {
            let name = if smoothed.is_some() && nll_value.is_finite() { names[1] } else { names[0] };
            return Err(Error::NonFinite { name });
        }
        Ok((loss, SftStats { loss: loss_value, nll: nll_value, accuracy, tokens: nll.numel() as i64 }))
    }
}

/// What every token weighs, in the shape of `keep`: the weight of its sequence, or 0 where it does not count.
pub(crate) fn token_weights(keep: &Tensor, weights: Option<&Tensor>, kind: Kind, with: &'static str) -> Result<Tensor> {
    let counted = keep.to_kind(kind);
    let Some(weights) = weights else { return Ok(counted) };
    let shape = keep.size();
    check_shape("weights", weights, with, &shape[..1])?;
    check_device("weights", weights, with, keep)?;
    let weights = weights.detach().f_to_kind(kind)?;
    check_weights(&weights)?;
    Ok(if shape.len() == 1 { counted * weights } else { counted * weights.unsqueeze(1) })
}

/// Every weight is a finite number that is not negative.
fn check_weights(weights: &Tensor) -> Result<()> {
    let good = weights.isfinite().logical_and(&weights.ge(0.0)).to_kind(Kind::Int8);
    if weights.numel() == 0 || good.min().int64_value(&[]) == 1 {
        return Ok(());
    }
    let got = weights.double_value(&[good.argmin(0, false).int64_value(&[])]);
    Err(Error::Setting { field: "weights", expected: "finite numbers ≥ 0", got })
}
