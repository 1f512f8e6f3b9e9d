use tch::{Kind, Reduction, Tensor};
use vr1_ops::{check_device, check_floating, check_integers, check_rank, check_shape, check_token_ids};

use crate::config::{Alignment, IGNORED, Normalizer, SftConfig};
use crate::labelled::{Labelled, SftStats, token_weights};
use crate::{Error, Result};

/// The supervised loss of a batch of sequences.
///
/// ```text
/// loss = Σ_{i,t} ℓ(p_{i,t}) / N,   p_{i,t} = softmax(logits_{i,t−1})[labels_{i,t}],   ℓ(p) = −log p
/// ```
///
/// over the `N` labels that are not −100. As in Hugging Face, the shift is made inside: hand in the labels at their own tokens
/// ([`Alignment::Aligned`] when the shift has been made). Logits at positions without a label may hold anything, NaN included.
/// Half-precision logits are raised to f32.
///
/// # Shapes
/// `logits [B, T, V]`, `labels [B, T]` (ids, or −100) → a scalar.
///
/// # Errors
/// A setting out of range, shapes that do not go together, a label outside `0..V` that is not −100, no label at all (unless
/// [`Normalizer::Global`] says that the batch is only a part), a loss that is not finite.
///
/// # Example
/// Two tokens with logits ln 1 and ln 3 have probabilities ¼ and ¾; the first position predicts the label 1, the last predicts nothing.
/// ```
/// use tch::Tensor;
/// use vr1_sft::{SftConfig, sft_loss};
/// let logits = Tensor::from_slice(&[1f64.ln(), 3f64.ln(), 0.0, f64::NAN]).view([1, 2, 2]);
/// let labels = Tensor::from_slice2(&[[-100i64, 1]]);
/// let (loss, stats) = sft_loss(&logits, &labels, &SftConfig::default())?;
/// assert!((loss.double_value(&[]) - (4f64 / 3.0).ln()).abs() < 1e-12);
/// assert_eq!((stats.tokens, stats.accuracy), (1, 1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sft_loss(logits: &Tensor, labels: &Tensor, config: &SftConfig) -> Result<(Tensor, SftStats)> {
    weighted_sft_loss(logits, labels, None, config)
}

/// [`sft_loss`] with a weight for every sequence.
///
/// ```text
/// loss = Σ_i w_i Σ_t ℓ_{i,t} / Σ_i w_i N_i
/// ```
///
/// It is a weighted mean: weights that are all equal change nothing.
///
/// # Shapes
/// `logits [B, T, V]`, `labels [B, T]`, `weights [B]` → a scalar.
///
/// # Errors
/// Those of [`sft_loss`]; a negative or non-finite weight, weights that are 0 wherever there is a label.
///
/// # Example
/// ```
/// use tch::Tensor;
/// use vr1_sft::{Alignment, SftConfig, weighted_sft_loss};
/// let logits = Tensor::from_slice(&[1f64.ln(), 3f64.ln(), 0.0, 0.0]).view([2, 1, 2]);
/// let (labels, weights) = (Tensor::from_slice(&[1i64, 0]).view([2, 1]), Tensor::from_slice(&[3f64, 1.0]));
/// let config = SftConfig { alignment: Alignment::Aligned, ..Default::default() };
/// let (loss, _) = weighted_sft_loss(&logits, &labels, Some(&weights), &config)?;
/// assert!((loss.double_value(&[]) - (3.0 * (4f64 / 3.0).ln() + 2f64.ln()) / 4.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn weighted_sft_loss(
    logits: &Tensor,
    labels: &Tensor,
    weights: Option<&Tensor>,
    config: &SftConfig,
) -> Result<(Tensor, SftStats)> {
    config.validate()?;
    check_rank("logits", logits, 3)?;
    check_floating("logits", logits)?;
    let (batch, tokens, vocab) = logits.size3()?;
    check_shape("labels", labels, "logits", &[batch, tokens])?;
    check_device("labels", labels, "logits", logits)?;
    check_integers("labels", labels)?;
    let labels = labels.f_to_kind(Kind::Int64)?;
    let kind = if logits.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    let (logits, labels) = match config.alignment {
        Alignment::NextToken if tokens > 0 => (logits.narrow(1, 0, tokens - 1), labels.narrow(1, 1, tokens - 1)),
        _ => (logits.shallow_clone(), labels),
    };
    let keep = labels.ne(IGNORED); // [B, T]
    let weight = token_weights(&keep, weights, kind, "logits")?;

    // Only the rows that have a label are looked at: [N, V].
    let rows = keep.flatten(0, -1).nonzero().squeeze_dim(-1);
    let n = rows.size()[0];
    if n == 0 && config.normalizer == Normalizer::Local {
        return Err(Error::NoLabels);
    }
    let targets = labels.flatten(0, -1).index_select(0, &rows); // [N]
    check_token_ids("labels", &targets, vocab)?;
    let logits = logits.flatten(0, 1).index_select(0, &rows).to_kind(kind); // [N, V]
    if n == 0 {
        return Ok((logits.sum(kind), SftStats::NOTHING));
    }
    let labelled = Labelled {
        nll: token_loss(&logits, &targets, 0.0),
        smoothed: (config.label_smoothing != 0.0).then(|| token_loss(&logits, &targets, config.label_smoothing)),
        weight: weight.flatten(0, -1).index_select(0, &rows),
        hits: Some(logits.argmax(-1, false).eq_tensor(&targets)),
    };
    labelled.reduce(["logits", "logits"], config)
}

/// `(1 − ε)·nll + ε·mean_v(−log p_v)` per row, `[N]`.
fn token_loss(logits: &Tensor, targets: &Tensor, smoothing: f64) -> Tensor {
    logits.cross_entropy_loss::<Tensor>(targets, None, Reduction::None, IGNORED, smoothing)
}
