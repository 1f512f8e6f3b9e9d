use tch::{Kind, Tensor, no_grad};
use vr1_ops::{check_alike, check_floating, check_rank};

use crate::batch::accumulation;
use crate::range::{finite, not_negative, positive, within};
use crate::{Error, Result};

/// A preference loss that needs no reference policy. `p = log π(y)`, summed over a completion; `p̄ = p/|y|`.
///
/// # Example
/// Completions of 2 and 4 tokens with log-probabilities −2 and −8: p̄ = −1 and −2, β = ½.
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{ReferenceFreeConfig, ReferenceFreeLoss, reference_free_loss};
/// let t = |x: f64| Tensor::from_slice(&[x]);
/// let nlog_sigmoid = |x: f64| (-x).exp().ln_1p();
/// let odds = |p: f64| p.exp() / (1.0 - p.exp());
/// for (loss, expected) in [
///     (ReferenceFreeLoss::SimPo { gamma: 0.25 }, nlog_sigmoid(0.5 - 0.25)),
///     (ReferenceFreeLoss::Orpo, 0.5 * nlog_sigmoid((odds(-1.0) / odds(-2.0)).ln())),
///     (ReferenceFreeLoss::Cpo, nlog_sigmoid(3.0)),
///     (ReferenceFreeLoss::Hinge, 0.0),
///     (ReferenceFreeLoss::Ipo, 0.0),
/// ] {
///     let config = ReferenceFreeConfig { loss, beta: 0.5, ..ReferenceFreeConfig::SIMPO };
///     let (value, _) = reference_free_loss(&t(-2.0), &t(-8.0), &t(2.0), &t(4.0), &config)?;
///     assert!((value.double_value(&[]) - expected).abs() < 1e-12, "{loss:?}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum ReferenceFreeLoss {
    /// `−log σ(β(p̄_w − p̄_l) − γ)` (SimPO, [arXiv:2405.14734](https://arxiv.org/abs/2405.14734), equation 6).
    #[cfg_attr(feature = "serde", serde(rename = "simpo", alias = "sim_po"))]
    SimPo {
        /// γ, the margin aimed at, in units of reward; the paper takes 0.5 to 1.6 of β = 2 to 2.5. A recipe's default: 1.
        #[cfg_attr(feature = "serde", serde(default = "crate::recipe::simpo_gamma"))]
        gamma: f64,
    },
    /// `−β·log σ(log odds(p̄_w) − log odds(p̄_l))`, `odds(p̄) = e^p̄ / (1 − e^p̄)` (ORPO, [arXiv:2403.07691](https://arxiv.org/abs/2403.07691),
    /// equation 7; β is its λ). Together with the likelihood of the chosen.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Orpo,
    /// `−log σ(β(p_w − p_l))` (CPO, [arXiv:2401.08417](https://arxiv.org/abs/2401.08417), equation 3). Together with the likelihood of the chosen.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Cpo,
    /// `max(0, 1 − β(p_w − p_l))` (SLiC-HF, [arXiv:2305.10425](https://arxiv.org/abs/2305.10425)).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Hinge,
    /// `(p̄_w − p̄_l − 1/(2β))²`.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Ipo,
}

/// The settings of [`reference_free_loss`]. What a recipe leaves out is what [`ReferenceFreeConfig::of`] takes for its loss.
///
/// # Example
/// SimPO with another β and margin:
/// ```
/// use vr1_dpo::{ReferenceFreeConfig, ReferenceFreeLoss};
/// let loss = ReferenceFreeLoss::SimPo { gamma: 1.25 };
/// assert!(ReferenceFreeConfig { loss, beta: 2.5, ..ReferenceFreeConfig::SIMPO }.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(from = "Given"))]
pub struct ReferenceFreeConfig {
    /// The loss of a pair.
    pub loss: ReferenceFreeLoss,
    /// β.
    pub beta: f64,
    /// ε, the share of preferences believed to be the wrong way round (SimPO, CPO).
    pub label_smoothing: f64,
    /// The weight of the likelihood of the chosen, `−Σ log π(y_w) / Σ |y_w|`.
    pub nll_weight: f64,
    /// `(pairs, chosen tokens)` of a batch of which the tensors handed in are a part; `None` = those handed in.
    pub whole: Option<(f64, f64)>,
}

impl ReferenceFreeConfig {
    /// SimPO with β = 2, γ = 1.
    pub const SIMPO: Self = Self {
        loss: ReferenceFreeLoss::SimPo { gamma: 1.0 },
        beta: 2.0,
        label_smoothing: 0.0,
        nll_weight: 0.0,
        whole: None,
    };
    /// ORPO with λ = 0.1.
    pub const ORPO: Self = Self { loss: ReferenceFreeLoss::Orpo, beta: 0.1, nll_weight: 1.0, ..Self::SIMPO };
    /// CPO with β = 0.1.
    pub const CPO: Self = Self { loss: ReferenceFreeLoss::Cpo, beta: 0.1, nll_weight: 1.0, ..Self::SIMPO };

    /// The settings that go with a loss: [`Self::SIMPO`], [`Self::ORPO`], or [`Self::CPO`], the last for hinge and IPO, too.
    ///
    /// # Example
    /// ```
    /// use vr1_dpo::{ReferenceFreeConfig, ReferenceFreeLoss};
    /// assert_eq!(ReferenceFreeConfig::of(ReferenceFreeLoss::Orpo), ReferenceFreeConfig::ORPO);
    /// assert_eq!(ReferenceFreeConfig::of(ReferenceFreeLoss::Hinge).beta, 0.1);
    /// ```
    pub fn of(loss: ReferenceFreeLoss) -> Self {
        let published = match loss {
            ReferenceFreeLoss::SimPo { .. } => Self::SIMPO,
            ReferenceFreeLoss::Orpo => Self::ORPO,
            ReferenceFreeLoss::Cpo | ReferenceFreeLoss::Hinge | ReferenceFreeLoss::Ipo => Self::CPO,
        };
        Self { loss, ..published }
    }

    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Setting`] names the field, its range and its value.
    ///
    /// # Example
    /// ```
    /// use vr1_dpo::ReferenceFreeConfig;
    /// assert!(ReferenceFreeConfig { beta: -1.0, ..ReferenceFreeConfig::SIMPO }.validate().is_err());
    /// ```
    pub fn validate(&self) -> Result<()> {
        let smoothing = self.label_smoothing;
        positive("beta", self.beta)?;
        within("label_smoothing", "in [0, 0.5)", smoothing, (0.0..0.5).contains(&smoothing))?;
        not_negative("nll_weight", self.nll_weight)?;
        let smooths = matches!(self.loss, ReferenceFreeLoss::SimPo { .. } | ReferenceFreeLoss::Cpo);
        within("label_smoothing", "0 for this loss", smoothing, smooths || smoothing == 0.0)?;
        if let ReferenceFreeLoss::SimPo { gamma } = self.loss {
            finite("loss.gamma", gamma)?;
        }
        if let Some((pairs, tokens)) = self.whole {
            positive("whole.pairs", pairs)?;
            positive("whole.chosen_tokens", tokens)?;
        }
        Ok(())
    }
}

/// The settings of a reference-free loss as a recipe has them: what it leaves out depends on the loss.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(rename = "ReferenceFreeConfig", deny_unknown_fields)]
struct Given {
    loss: ReferenceFreeLoss,
    beta: Option<f64>,
    label_smoothing: Option<f64>,
    nll_weight: Option<f64>,
    whole: Option<(f64, f64)>,
}

#[cfg(feature = "serde")]
impl From<Given> for ReferenceFreeConfig {
    fn from(given: Given) -> Self {
        let published = Self::of(given.loss);
        Self {
            loss: given.loss,
            beta: given.beta.unwrap_or(published.beta),
            label_smoothing: given.label_smoothing.unwrap_or(published.label_smoothing),
            nll_weight: given.nll_weight.unwrap_or(published.nll_weight),
            whole: given.whole,
        }
    }
}

/// What a reference-free loss says about its batch; plain numbers without gradient, means over pairs. See [`reference_free_loss`].
///
/// # Example
/// SimPO's β is 2: of −1 and −2 nats a token the margin is 2, and the chosen completion has 1 nat a token.
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{ReferenceFreeConfig, reference_free_loss};
/// let t = |x: f64| Tensor::from_slice(&[x]);
/// let (_, stats) = reference_free_loss(&t(-2.0), &t(-6.0), &t(2.0), &t(3.0), &ReferenceFreeConfig::SIMPO)?;
/// assert_eq!((stats.nll, stats.margin, stats.accuracy, stats.pairs), (1.0, 2.0, 1.0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferenceFreeStats {
    /// The loss itself.
    pub loss: f64,
    /// `−Σ log π(y_w) / Σ |y_w|`.
    pub nll: f64,
    /// The mean of `β(p_w − p_l)`, per token where the loss is.
    pub margin: f64,
    /// The share of pairs whose chosen completion is the likelier one, per token where the loss is.
    pub accuracy: f64,
    /// How many pairs there are.
    pub pairs: i64,
}

/// A preference loss without a reference policy.
///
/// ```text
/// loss = mean over pairs of loss(p_w, p_l) + nll_weight · (−Σ log π(y_w) / Σ |y_w|)
/// ```
///
/// # Shapes
/// `[B]` each: log-probabilities summed over completions, and their numbers of tokens → a scalar.
///
/// # Errors
/// A setting out of range, shapes, kinds or devices that do not go together, NaN or ±∞, a token count below 1, an empty batch; for ORPO
/// a completion of probability 1, whose odds are infinite.
///
/// # Example
/// SimPO: 2 · (−1 − (−2)) − 1 = 1 nat over the margin.
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{ReferenceFreeConfig, reference_free_loss};
/// let t = |x: f64| Tensor::from_slice(&[x]);
/// let (loss, _) = reference_free_loss(&t(-2.0), &t(-6.0), &t(2.0), &t(3.0), &ReferenceFreeConfig::SIMPO)?;
/// assert!((loss.double_value(&[]) - (1.0 + (-1f64).exp()).ln()).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn reference_free_loss(
    chosen_logprobs: &Tensor,
    rejected_logprobs: &Tensor,
    chosen_tokens: &Tensor,
    rejected_tokens: &Tensor,
    config: &ReferenceFreeConfig,
) -> Result<(Tensor, ReferenceFreeStats)> {
    config.validate()?;
    check_rank("chosen_logprobs", chosen_logprobs, 1)?;
    check_floating("chosen_logprobs", chosen_logprobs)?;
    let others = [
        ("rejected_logprobs", rejected_logprobs),
        ("chosen_tokens", chosen_tokens),
        ("rejected_tokens", rejected_tokens),
    ];
    for (name, tensor) in others {
        check_alike(name, tensor, "chosen_logprobs", chosen_logprobs)?;
    }
    check_floating("rejected_logprobs", rejected_logprobs)?;
    if chosen_logprobs.numel() == 0 {
        return Err(Error::EmptyBatch);
    }
    let kind = accumulation(chosen_logprobs);
    let (chosen, rejected) = (chosen_logprobs.to_kind(kind), rejected_logprobs.to_kind(kind));
    let (chosen_tokens, rejected_tokens) =
        (chosen_tokens.detach().to_kind(kind), rejected_tokens.detach().to_kind(kind));
    let per_token =
        matches!(config.loss, ReferenceFreeLoss::SimPo { .. } | ReferenceFreeLoss::Orpo | ReferenceFreeLoss::Ipo);
    let (p_w, p_l) = if per_token {
        (&chosen / &chosen_tokens, &rejected / &rejected_tokens)
    } else {
        (chosen.shallow_clone(), rejected.shallow_clone())
    };
    let gap = (&p_w - &p_l) * config.beta;
    let smoothed = |x: Tensor| {
        let kept = x.log_sigmoid() * -(1.0 - config.label_smoothing);
        kept - (-x).log_sigmoid() * config.label_smoothing
    };
    let losses = match config.loss {
        ReferenceFreeLoss::SimPo { gamma } => smoothed(&gap - gamma),
        ReferenceFreeLoss::Cpo => smoothed(gap.shallow_clone()),
        ReferenceFreeLoss::Orpo => {
            let log_odds = |p: &Tensor| p - (-p.expm1()).log(); // log(e^p / (1 − e^p))
            (log_odds(&p_w) - log_odds(&p_l)).log_sigmoid() * -config.beta
        }
        ReferenceFreeLoss::Hinge => (-&gap + 1.0).relu(),
        ReferenceFreeLoss::Ipo => (&p_w - &p_l - 0.5 / config.beta).square(),
    };
    let pairs = chosen.numel() as f64;
    let all_tokens = chosen_tokens.sum(kind);
    let nll = -chosen.sum(kind);
    let (preference, likelihood) = match config.whole {
        None => (losses.sum(kind) / pairs, &nll / &all_tokens),
        Some((pairs, tokens)) => (losses.sum(kind) / pairs, &nll / tokens),
    };
    let loss = preference + likelihood * config.nll_weight;
    let v = no_grad(|| {
        let bad = |tensor: &Tensor| tensor.isfinite().logical_not().sum(Kind::Double);
        let values = [
            loss.to_kind(Kind::Double),
            (&nll / &all_tokens).to_kind(Kind::Double),
            gap.mean(Kind::Double),
            gap.gt(0.0).to_kind(Kind::Double).mean(Kind::Double),
            bad(&chosen),
            bad(&rejected),
            chosen_tokens.minimum(&rejected_tokens).min().to_kind(Kind::Double),
            p_w.maximum(&p_l).max().to_kind(Kind::Double),
        ];
        Vec::<f64>::try_from(Tensor::stack(&values, 0))
    })?;
    for (name, count) in [("chosen_logprobs", v[4]), ("rejected_logprobs", v[5])] {
        if count > 0.0 {
            return Err(Error::NonFinite { name, count: count as i64 });
        }
    }
    if v[6].is_nan() || v[6] < 1.0 {
        return Err(Error::Setting { field: "chosen_tokens or rejected_tokens", expected: "at least 1", got: v[6] });
    }
    if config.loss == ReferenceFreeLoss::Orpo && v[7] >= 0.0 {
        return Err(Error::Setting { field: "logprobs", expected: "below 0 for ORPO", got: v[7] });
    }
    if !v[0].is_finite() {
        return Err(Error::Overflow { log_ratio: v[2] / config.beta });
    }
    Ok((loss, ReferenceFreeStats { loss: v[0], nll: v[1], margin: v[2], accuracy: v[3], pairs: pairs as i64 }))
}
