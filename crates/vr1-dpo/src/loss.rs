use tch::{Kind, Tensor, no_grad};

use crate::batch::{Batch, LogRatios};
use crate::config::{DpoConfig, DpoLoss, Normalizer};
use crate::objective::per_pair;
use crate::range::LARGEST;
use crate::{Error, Result};

/// Tensors that some losses need beside the four of [`dpo_loss`], `[B]` each; see [`dpo_loss_with`].
///
/// # Example
/// A pair of weight 2 counts twice: the loss of a pair about which nothing is known, ln 2, becomes 2 ln 2.
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{DpoConfig, Extras, dpo_loss_with};
/// let t = |x: f64| Tensor::from_slice(&[x]);
/// let extras = Extras { weights: Some(&t(2.0)), ..Default::default() };
/// let (loss, _) = dpo_loss_with([&t(-4.0), &t(-5.0), &t(-4.0), &t(-5.0)], extras, &DpoConfig::default())?;
/// assert!((loss.double_value(&[]) - 2.0 * 2f64.ln()).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// The number of tokens of every chosen completion.
    pub chosen_tokens: Option<&'a Tensor>,
    /// The number of tokens of every rejected completion.
    pub rejected_tokens: Option<&'a Tensor>,
    /// A factor on the loss of every pair, without gradient; see [`wpo_weights`](crate::wpo_weights).
    pub weights: Option<&'a Tensor>,
}

/// What a preference loss says about its batch; plain numbers without gradient, means over pairs. See [`dpo_loss`].
///
/// # Example
/// β is 0.1, the chosen completion gained 5 nats and the rejected one lost 5.
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{DpoConfig, dpo_loss};
/// let t = |x: f64| Tensor::from_slice(&[x]);
/// let (_, stats) = dpo_loss(&t(-10.0), &t(-25.0), &t(-15.0), &t(-20.0), &DpoConfig::default())?;
/// assert_eq!((stats.chosen_reward, stats.rejected_reward, stats.margin), (0.5, -0.5, 1.0));
/// assert_eq!((stats.chosen_logprob, stats.rejected_logprob, stats.pairs), (-10.0, -25.0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpoStats {
    /// The loss itself.
    pub loss: f64,
    /// The implied reward of the chosen completions, `β·c`.
    pub chosen_reward: f64,
    /// The implied reward of the rejected completions, `β·r`.
    pub rejected_reward: f64,
    /// `chosen_reward − rejected_reward`.
    pub margin: f64,
    /// The share of pairs whose chosen completion has the higher implied reward.
    pub accuracy: f64,
    /// The mean log-probability of a chosen completion.
    pub chosen_logprob: f64,
    /// The mean log-probability of a rejected completion.
    pub rejected_logprob: f64,
    /// How many pairs there are.
    pub pairs: i64,
}

/// The loss of direct preference optimisation and of its family.
///
/// ```text
/// c = log π(y_w) − log π_ref(y_w),   r = log π(y_l) − log π_ref(y_l)
/// loss = mean over pairs of −log σ(β(c − r))
/// ```
///
/// That is the default, DPO ([arXiv:2305.18290](https://arxiv.org/abs/2305.18290), equation 7); every other member of the family is a
/// [`DpoLoss`]. Gradient flows through `chosen_logprobs` and `rejected_logprobs` alone.
///
/// # Shapes
/// `[B]` each, summed over the tokens of a completion → a scalar.
///
/// # Errors
/// A setting out of range or without a use, a missing tensor, shapes, kinds or devices that do not go together, NaN or ±∞, an empty
/// batch, a loss that overflows.
///
/// # Example
/// The chosen completion became e⁵ times likelier than under the reference, the rejected one e⁻⁵ times: β(c − r) = 1.
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{DpoConfig, dpo_loss};
/// let t = |x: f64| Tensor::from_slice(&[x]);
/// let (loss, stats) = dpo_loss(&t(-10.0), &t(-25.0), &t(-15.0), &t(-20.0), &DpoConfig::default())?;
/// assert!((loss.double_value(&[]) - (1.0 + (-1f64).exp()).ln()).abs() < 1e-12);
/// assert_eq!((stats.chosen_reward, stats.margin, stats.accuracy), (0.5, 1.0, 1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn dpo_loss(
    chosen_logprobs: &Tensor,
    rejected_logprobs: &Tensor,
    ref_chosen_logprobs: &Tensor,
    ref_rejected_logprobs: &Tensor,
    config: &DpoConfig,
) -> Result<(Tensor, DpoStats)> {
    let logprobs = [chosen_logprobs, rejected_logprobs, ref_chosen_logprobs, ref_rejected_logprobs];
    dpo_loss_with(logprobs, Extras::default(), config)
}

/// [`dpo_loss`] with token counts and weights; `logprobs` are its four tensors in its order.
///
/// ```text
/// loss = Σ_i weights_i · loss_i / B
/// ```
///
/// # Shapes
/// `[B]` each → a scalar.
///
/// # Errors
/// Those of [`dpo_loss`]; [`Error::Missing`] names the tensor that a loss needs; a token count below 1.
///
/// # Example
/// Length-normalised: the chosen completion gained 4 nats over 2 tokens, the rejected one 3 nats over 3 tokens, so Δ = 2 − 1.
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{DpoConfig, DpoLoss, Extras, dpo_loss_with};
/// let t = |x: f64| Tensor::from_slice(&[x]);
/// let logprobs = [&t(-4.0), &t(-5.0), &t(-8.0), &t(-8.0)];
/// let extras = Extras { chosen_tokens: Some(&t(2.0)), rejected_tokens: Some(&t(3.0)), ..Default::default() };
/// let config = DpoConfig { loss: DpoLoss::SigmoidNorm, beta: 1.0, ..Default::default() };
/// let (loss, _) = dpo_loss_with(logprobs, extras, &config)?;
/// assert!((loss.double_value(&[]) - (1.0 + (-1f64).exp()).ln()).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn dpo_loss_with(logprobs: [&Tensor; 4], extras: Extras<'_>, config: &DpoConfig) -> Result<(Tensor, DpoStats)> {
    config.validate()?;
    let batch = Batch::of(logprobs, extras)?;
    let ratios = batch.log_ratios(config.divergence);
    let mut losses = per_pair(&batch, &ratios, config)?; // [B]
    if let Some(weights) = &batch.weights {
        losses = &losses * weights;
    }
    let total = losses.sum(losses.kind());
    let loss = match (config.loss, config.normalizer) {
        (DpoLoss::ChosenNll, Normalizer::Local) => total / batch.chosen_tokens()?.sum(losses.kind()),
        (DpoLoss::ChosenNll, Normalizer::Global { chosen_tokens, .. }) => total / chosen_tokens,
        (_, Normalizer::Local) => total / batch.chosen.numel() as i64,
        (_, Normalizer::Global { pairs, .. }) => total / pairs,
    };
    let stats = no_grad(|| DpoStats::of(&loss, &batch, &ratios, config))?;
    Ok((loss, stats))
}

impl DpoStats {
    fn of(loss: &Tensor, batch: &Batch, ratios: &LogRatios, config: &DpoConfig) -> Result<Self> {
        let kind = Kind::Double;
        let (c, r) = (ratios.chosen.to_kind(kind) * config.beta, ratios.rejected.to_kind(kind) * config.beta);
        let bad = |tensor: &Tensor| tensor.abs().le(LARGEST).logical_not().sum(kind);
        let values = [
            loss.to_kind(kind),
            c.mean(kind),
            r.mean(kind),
            c.gt_tensor(&r).to_kind(kind).mean(kind),
            batch.chosen.mean(kind),
            batch.rejected.mean(kind),
            // An infinite score, or one whose square is, may leave the loss finite, but not its gradient.
            bad(&ratios.chosen_score) + bad(&ratios.rejected_score),
            Tensor::maximum(&c.abs(), &r.abs()).max() / config.beta,
        ];
        let v = Vec::<f64>::try_from(Tensor::stack(&values, 0))?;
        if !v[0].is_finite() || v[6] > 0.0 || v[7] > LARGEST {
            return Err(Error::Overflow { log_ratio: v[7] });
        }
        Ok(Self {
            loss: v[0],
            chosen_reward: v[1],
            rejected_reward: v[2],
            margin: v[1] - v[2],
            accuracy: v[3],
            chosen_logprob: v[4],
            rejected_logprob: v[5],
            pairs: batch.chosen.numel() as i64,
        })
    }
}
