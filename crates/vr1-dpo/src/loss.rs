use tch::{Kind, Tensor, no_grad};
use vr1_ops::{check_alike, check_floating, check_rank};

use crate::config::{Divergence, DpoConfig, DpoLoss, Normalizer};
use crate::{Error, Result};

/// Tensors that some losses need beside the four of [`dpo_loss`], `[B]` each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// The number of tokens of every chosen completion.
    pub chosen_tokens: Option<&'a Tensor>,
    /// The number of tokens of every rejected completion.
    pub rejected_tokens: Option<&'a Tensor>,
    /// A factor on the loss of every pair, without gradient; see [`wpo_weights`](crate::wpo_weights).
    pub weights: Option<&'a Tensor>,
}

/// What a preference loss says about its batch; plain numbers without gradient, means over pairs.
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
    let pairs = Pairs::checked(logprobs, extras)?;
    let loss = pairs.loss(config)?;
    let stats = no_grad(|| pairs.stats(&loss, config))?;
    Ok((loss, stats))
}

/// The checked inputs, in f32 or f64.
struct Pairs {
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    chosen_tokens: Option<Tensor>,
    rejected_tokens: Option<Tensor>,
    weights: Option<Tensor>,
}

impl Pairs {
    fn checked(logprobs: [&Tensor; 4], extras: Extras<'_>) -> Result<Self> {
        let names = ["chosen_logprobs", "rejected_logprobs", "ref_chosen_logprobs", "ref_rejected_logprobs"];
        let first = logprobs[0];
        check_rank(names[0], first, 1)?;
        for (name, tensor) in names.into_iter().zip(logprobs) {
            check_alike(name, tensor, names[0], first)?;
            check_floating(name, tensor)?;
        }
        let kind = if first.kind() == Kind::Double { Kind::Double } else { Kind::Float };
        let [chosen, rejected, ref_chosen, ref_rejected] = logprobs.map(|tensor| tensor.to_kind(kind));
        let optional = |name, tensor: Option<&Tensor>| -> Result<Option<Tensor>> {
            let Some(tensor) = tensor else { return Ok(None) };
            check_alike(name, tensor, names[0], first)?;
            Ok(Some(tensor.detach().to_kind(kind)))
        };
        let pairs = Self {
            chosen,
            rejected,
            ref_chosen: ref_chosen.detach(),
            ref_rejected: ref_rejected.detach(),
            chosen_tokens: optional("chosen_tokens", extras.chosen_tokens)?,
            rejected_tokens: optional("rejected_tokens", extras.rejected_tokens)?,
            weights: optional("weights", extras.weights)?,
        };
        pairs.check_values(names)?;
        Ok(pairs)
    }

    /// NaN, ±∞ and empty completions, found in one transfer from the device.
    fn check_values(&self, names: [&'static str; 4]) -> Result<()> {
        if self.chosen.numel() == 0 {
            return Err(Error::EmptyBatch);
        }
        let bad = |tensor: &Tensor| tensor.isfinite().logical_not().sum(Kind::Int64);
        let short = |tensor: &Option<Tensor>| match tensor {
            Some(tensor) => tensor.ge(1.0).logical_not().sum(Kind::Int64),
            None => self.chosen.isnan().sum(Kind::Int64).zeros_like(),
        };
        let counts = [
            bad(&self.chosen),
            bad(&self.rejected),
            bad(&self.ref_chosen),
            bad(&self.ref_rejected),
            self.weights.as_ref().map_or_else(|| short(&None), bad),
            short(&self.chosen_tokens),
            short(&self.rejected_tokens),
        ];
        let counts = Vec::<i64>::try_from(Tensor::stack(&counts, 0))?;
        for (name, &count) in names.into_iter().chain(["weights"]).zip(&counts) {
            if count > 0 {
                return Err(Error::NonFinite { name, count });
            }
        }
        for (field, tensor, &count) in
            [("chosen_tokens", &self.chosen_tokens, &counts[5]), ("rejected_tokens", &self.rejected_tokens, &counts[6])]
        {
            if let (Some(tensor), true) = (tensor, count > 0) {
                return Err(Error::Setting { field, expected: "at least 1", got: tensor.min().double_value(&[]) });
            }
        }
        Ok(())
    }

    fn tokens<'a>(name: &'static str, tokens: &'a Option<Tensor>) -> Result<&'a Tensor> {
        tokens.as_ref().ok_or(Error::Missing { name, reason: "the loss averages over the tokens of a completion" })
    }

    fn loss(&self, config: &DpoConfig) -> Result<Tensor> {
        let kind = self.chosen.kind();
        let total = self.weighted(self.per_pair(config)?).sum(kind);
        Ok(match (config.loss, config.normalizer) {
            (DpoLoss::ChosenNll, Normalizer::Local) => {
                total / Self::tokens("chosen_tokens", &self.chosen_tokens)?.sum(kind)
            }
            (DpoLoss::ChosenNll, Normalizer::Global { chosen_tokens, .. }) => total / chosen_tokens,
            (_, Normalizer::Local) => total / self.chosen.numel() as i64,
            (_, Normalizer::Global { pairs, .. }) => total / pairs,
        })
    }

    fn weighted(&self, values: Tensor) -> Tensor {
        match &self.weights {
            Some(weights) => values * weights,
            None => values,
        }
    }

    /// The loss of every pair, `[B]`.
    fn per_pair(&self, config: &DpoConfig) -> Result<Tensor> {
        let (beta, epsilon) = (config.beta, config.label_smoothing);
        let c = &self.chosen - &self.ref_chosen;
        let r = &self.rejected - &self.ref_rejected;
        let (score_c, score_r) = (score(&c, config.divergence), score(&r, config.divergence));
        let delta = &score_c - &score_r;
        let smoothed = |x: Tensor| -> Tensor {
            let kept = x.log_sigmoid() * -(1.0 - epsilon);
            if epsilon == 0.0 { kept } else { kept - (-x).log_sigmoid() * epsilon }
        };
        let sorted = |x: Tensor| x.sort(0, false).0;
        Ok(match config.loss {
            DpoLoss::Sigmoid => smoothed(delta * beta),
            DpoLoss::SigmoidNorm => {
                let chosen = score_c / Self::tokens("chosen_tokens", &self.chosen_tokens)?;
                let rejected = score_r / Self::tokens("rejected_tokens", &self.rejected_tokens)?;
                -((chosen - rejected) * beta).log_sigmoid()
            }
            DpoLoss::Hinge => (-(delta * beta) + 1.0).relu(),
            DpoLoss::Ipo => {
                let per_token = |score: Tensor, tokens: &Option<Tensor>| match tokens {
                    Some(tokens) => score / tokens,
                    None => score,
                };
                let gap = per_token(score_c, &self.chosen_tokens) - per_token(score_r, &self.rejected_tokens);
                (gap - 0.5 / beta).square()
            }
            DpoLoss::Exo => {
                let x = delta * beta;
                let (log_w, log_l) = (x.log_sigmoid(), (-&x).log_sigmoid());
                x.sigmoid() * (log_w - (-epsilon).ln_1p()) + (-&x).sigmoid() * (log_l - epsilon.ln())
            }
            DpoLoss::Nca => {
                let (x, y) = (c * beta, r * beta);
                -x.log_sigmoid() - (-x).log_sigmoid() * 0.5 - (-y).log_sigmoid() * 0.5
            }
            DpoLoss::Robust => {
                let x = delta * beta;
                ((-&x).log_sigmoid() * epsilon - x.log_sigmoid() * (1.0 - epsilon)) / (1.0 - 2.0 * epsilon)
            }
            DpoLoss::Bco { shift } => -(c * beta - shift).log_sigmoid() - (-(r * beta - shift)).log_sigmoid(),
            DpoLoss::Sppo => (c - 0.5 / beta).square() + (r + 0.5 / beta).square(),
            DpoLoss::Aot => {
                let policy = sorted(&self.chosen - &self.rejected);
                smoothed((policy - sorted(&self.ref_chosen - &self.ref_rejected)) * beta)
            }
            DpoLoss::AotUnpaired => smoothed((sorted(c) - sorted(r)) * beta),
            DpoLoss::ApoZero => -(c * beta).sigmoid() + (r * beta).sigmoid() + 1.0,
            DpoLoss::ApoDown => (&c * beta).sigmoid() - ((&c - &r) * beta).sigmoid() + 1.0,
            DpoLoss::DiscoPop { temperature } => {
                let x = delta * beta;
                let mix = (&x / temperature).sigmoid();
                -x.log_sigmoid() * (-&mix + 1.0) + (-x).exp() * mix
            }
            DpoLoss::ChosenNllPerPair => -(&self.chosen / Self::tokens("chosen_tokens", &self.chosen_tokens)?),
            DpoLoss::ChosenNll => -&self.chosen,
        })
    }

    fn stats(&self, loss: &Tensor, config: &DpoConfig) -> Result<DpoStats> {
        let kind = Kind::Double;
        let c = (&self.chosen - &self.ref_chosen).to_kind(kind) * config.beta;
        let r = (&self.rejected - &self.ref_rejected).to_kind(kind) * config.beta;
        let values = [
            loss.to_kind(kind),
            c.mean(kind),
            r.mean(kind),
            c.gt_tensor(&r).to_kind(kind).mean(kind),
            self.chosen.mean(kind),
            self.rejected.mean(kind),
            Tensor::maximum(&c.abs(), &r.abs()).max() / config.beta,
        ];
        let v = Vec::<f64>::try_from(Tensor::stack(&values, 0))?;
        if !v[0].is_finite() {
            return Err(Error::Overflow { log_ratio: v[6] });
        }
        Ok(DpoStats {
            loss: v[0],
            chosen_reward: v[1],
            rejected_reward: v[2],
            margin: v[1] - v[2],
            accuracy: v[3],
            chosen_logprob: v[4],
            rejected_logprob: v[5],
            pairs: self.chosen.numel() as i64,
        })
    }
}

/// `f'(exp x)` of a log-ratio.
fn score(x: &Tensor, divergence: Divergence) -> Tensor {
    match divergence {
        Divergence::Alpha(alpha) if (alpha - 1.0).abs() >= 1e-6 => {
            let bound = if x.kind() == Kind::Double { 700.0 } else { 80.0 };
            ((x * (alpha - 1.0)).clamp_max(bound).exp() - 1.0) / (alpha - 1.0)
        }
        Divergence::ReverseKl | Divergence::Alpha(_) => x.shallow_clone(),
        Divergence::ForwardKl => -(-x).exp() + 1.0,
        Divergence::JensenShannon => x.log_sigmoid() + std::f64::consts::LN_2,
    }
}
