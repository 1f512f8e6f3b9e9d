use crate::range::{finite, positive, within};
use crate::{Error, Result};

/// The loss of a pair. `c = log π(y_w) − log π_ref(y_w)`, `r` the same of the rejected completion, `s = f'(exp ·)` of them under the configured
/// [`Divergence`] (`s = c` for the usual one), `Δ = s_c − s_r`, `σ` the logistic function, `ε` = `label_smoothing`, `|y|` a number of tokens.
///
/// # Example
/// The chosen completion gained 2 nats over the reference, the rejected one lost 2; β = ½, so βc = 1, βr = −1, βΔ = 2.
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{DpoConfig, DpoLoss, dpo_loss};
/// let t = |x: f64| Tensor::from_slice(&[x]);
/// let nlog_sigmoid = |x: f64| (-x).exp().ln_1p();
/// let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
/// for (loss, expected) in [
///     (DpoLoss::Sigmoid, nlog_sigmoid(2.0)),
///     (DpoLoss::Hinge, 0.0),
///     (DpoLoss::Ipo, (4.0 - 1.0) * (4.0 - 1.0)),
///     (DpoLoss::Nca, nlog_sigmoid(1.0) + 0.5 * nlog_sigmoid(-1.0) + 0.5 * nlog_sigmoid(1.0)),
///     (DpoLoss::Robust, nlog_sigmoid(2.0)),
///     (DpoLoss::Bco { shift: 0.0 }, 2.0 * nlog_sigmoid(1.0)),
///     (DpoLoss::Sppo, 1.0 + 1.0),
///     (DpoLoss::Aot, nlog_sigmoid(2.0)),
///     (DpoLoss::AotUnpaired, nlog_sigmoid(2.0)),
///     (DpoLoss::ApoZero, 1.0 - sigmoid(1.0) + sigmoid(-1.0)),
///     (DpoLoss::ApoDown, sigmoid(1.0) + 1.0 - sigmoid(2.0)),
///     (DpoLoss::DiscoPop { temperature: 2.0 }, (1.0 - sigmoid(1.0)) * nlog_sigmoid(2.0) + sigmoid(1.0) * (-2f64).exp()),
/// ] {
///     let config = DpoConfig { loss, beta: 0.5, ..Default::default() };
///     let (value, _) = dpo_loss(&t(-8.0), &t(-12.0), &t(-10.0), &t(-10.0), &config)?;
///     assert!((value.double_value(&[]) - expected).abs() < 1e-12, "{loss:?}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum DpoLoss {
    /// `−(1 − ε)·log σ(βΔ) − ε·log σ(−βΔ)` (DPO, [arXiv:2305.18290](https://arxiv.org/abs/2305.18290), equation 7; with `ε > 0` cDPO,
    /// [Mitchell 2023](https://ericmitchell.ai/cdpo.pdf)).
    #[default]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Sigmoid,
    /// `−log σ(β(s_c/|y_w| − s_r/|y_l|))`: length-normalised DPO ([arXiv:2411.15124](https://arxiv.org/abs/2411.15124), equation 6). Needs
    /// token counts.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    SigmoidNorm,
    /// `max(0, 1 − βΔ)` (SLiC, [arXiv:2305.10425](https://arxiv.org/abs/2305.10425); RSO, [arXiv:2309.06657](https://arxiv.org/abs/2309.06657)).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Hinge,
    /// `(s_c/|y_w| − s_r/|y_l| − 1/(2β))²` (IPO, [arXiv:2310.12036](https://arxiv.org/abs/2310.12036), equation 17, per token as its authors
    /// meant). Without token counts, `|y| = 1`: the equation as printed.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Ipo,
    /// `q_w(log q_w − log(1 − ε)) + q_l(log q_l − log ε)`, `q_w = σ(βΔ)`, `q_l = σ(−βΔ)` (EXO, [arXiv:2402.00856](https://arxiv.org/abs/2402.00856),
    /// equation 16). Needs `ε > 0`.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Exo,
    /// `−log σ(βc) − ½·log σ(−βc) − ½·log σ(−βr)` (NCA, [arXiv:2402.05369](https://arxiv.org/abs/2402.05369)).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Nca,
    /// `[−(1 − ε)·log σ(βΔ) + ε·log σ(−βΔ)] / (1 − 2ε)` (robust DPO, [arXiv:2403.00409](https://arxiv.org/abs/2403.00409)). Needs `ε < ½`.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Robust,
    /// `−log σ(βc − δ) − log σ(−(βr − δ))` (BCO, [arXiv:2404.04656](https://arxiv.org/abs/2404.04656), δ: the mean reward so far; TRL takes 0).
    Bco {
        /// δ, in units of reward. A recipe's default: 0.
        #[cfg_attr(feature = "serde", serde(default))]
        shift: f64,
    },
    /// `(c − 1/(2β))² + (r + 1/(2β))²` (SPPO with hard labels, [arXiv:2405.00675](https://arxiv.org/abs/2405.00675), equation 4.7).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Sppo,
    /// `sort(log π_w − log π_l) − sort(the same of the reference)` in place of Δ of [`DpoLoss::Sigmoid`], sorted over the batch (AOT,
    /// [arXiv:2406.05882](https://arxiv.org/abs/2406.05882)).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Aot,
    /// `sort(c) − sort(r)` in place of Δ (unpaired AOT).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    AotUnpaired,
    /// `1 − σ(βc) + σ(βr)` (APO-zero, [arXiv:2408.06266](https://arxiv.org/abs/2408.06266), equation 7): the chosen completions are better than the
    /// model.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    ApoZero,
    /// `σ(βc) + 1 − σ(β(c − r))` (APO-down, equation 8): the model is better than the chosen completions.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    ApoDown,
    /// `(1 − m)·(−log σ(βΔ)) + m·exp(−βΔ)`, `m = σ(βΔ/τ)` (DiscoPOP, [arXiv:2406.08414](https://arxiv.org/abs/2406.08414)).
    #[cfg_attr(feature = "serde", serde(rename = "discopop", alias = "disco_pop"))]
    DiscoPop {
        /// τ; the paper takes 0.05, and so does a recipe that says nothing.
        #[cfg_attr(feature = "serde", serde(default = "crate::recipe::discopop_temperature"))]
        temperature: f64,
    },
    /// `−Σ log π(y_w) / Σ |y_w|`, over the batch: the likelihood of the chosen completions, as a term of a mixture (RPO, MPO). Needs the
    /// chosen token counts.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    ChosenNll,
    /// `−log π(y_w) / |y_w|`, averaged over pairs: the same with every pair weighing alike (RPO, [arXiv:2404.19733](https://arxiv.org/abs/2404.19733)).
    /// Needs the chosen token counts.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    ChosenNllPerPair,
}

/// The f-divergence that the implied reward is regularised by ([arXiv:2309.16240](https://arxiv.org/abs/2309.16240)), as the score `f'(t)` of
/// a log-ratio `x = log t`. For sigmoid, normalised sigmoid, hinge, IPO, EXO, robust and DiscoPOP.
///
/// # Example
/// Log-ratios of ln 2 and 0, β = 1, hinge: 1 − (s(ln 2) − s(0)).
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{Divergence, DpoConfig, DpoLoss, dpo_loss};
/// let t = |x: f64| Tensor::from_slice(&[x]);
/// for (divergence, score) in [
///     (Divergence::ReverseKl, 2f64.ln()),
///     (Divergence::ForwardKl, 0.5),
///     (Divergence::JensenShannon, (4.0 / 3f64).ln()), // log σ(ln 2) − log σ(0) = log ⅔ − log ½
///     (Divergence::Alpha(0.5), 2.0 - 2f64.sqrt()),
/// ] {
///     let config = DpoConfig { loss: DpoLoss::Hinge, divergence, beta: 1.0, ..Default::default() };
///     let (loss, _) = dpo_loss(&t(2f64.ln() - 5.0), &t(-3.0), &t(-5.0), &t(-3.0), &config)?;
///     assert!((loss.double_value(&[]) - (1.0 - score)).abs() < 1e-12);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", content = "alpha", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Divergence {
    /// `x`.
    #[default]
    ReverseKl,
    /// `1 − exp(−x)`.
    ForwardKl,
    /// `log 2 + log σ(x)`.
    JensenShannon,
    /// `(exp((α − 1)x) − 1) / (α − 1)`; α = 1 is the reverse KL. The exponent is held at 80 in f32.
    Alpha(f64),
}

/// By what the sums are divided.
///
/// # Example
/// One pair of a batch of four, the policy still its reference: ln 2 over 4.
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{DpoConfig, Normalizer, dpo_loss};
/// let t = Tensor::from_slice(&[-5f64]);
/// let normalizer = Normalizer::Global { pairs: 4.0, chosen_tokens: 40.0 };
/// let (loss, _) = dpo_loss(&t, &t, &t, &t, &DpoConfig { normalizer, ..Default::default() })?;
/// assert_eq!(loss.double_value(&[]), 2f64.ln() / 4.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Normalizer {
    /// The pairs (and chosen tokens) of the tensors handed in.
    #[default]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::recipe::nothing_else"))]
    Local,
    /// Those of a batch of which the tensors handed in are a part: the losses of the parts add up to the loss of the whole, and so do
    /// their gradients. (AOT sorts its batch, so its parts do not add up.)
    Global {
        /// Pairs of the whole batch.
        pairs: f64,
        /// Tokens of all chosen completions of the whole batch; used by [`DpoLoss::ChosenNll`].
        chosen_tokens: f64,
    },
}

/// The settings of [`dpo_loss`](crate::dpo_loss). `Default` is the paper's DPO.
///
/// # Example
/// ```
/// use vr1_dpo::{DpoConfig, DpoLoss};
/// let conservative = DpoConfig { label_smoothing: 0.1, ..Default::default() };
/// assert_eq!((conservative.loss, conservative.beta), (DpoLoss::Sigmoid, 0.1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct DpoConfig {
    /// The loss of a pair. Default: sigmoid.
    pub loss: DpoLoss,
    /// β, how closely the policy stays by its reference. Default: 0.1.
    pub beta: f64,
    /// ε, the share of preferences believed to be the wrong way round. Default: 0.
    pub label_smoothing: f64,
    /// The f-divergence. Default: reverse KL.
    pub divergence: Divergence,
    /// By what the sums are divided. Default: the pairs handed in.
    pub normalizer: Normalizer,
}

impl Default for DpoConfig {
    fn default() -> Self {
        Self {
            loss: DpoLoss::Sigmoid,
            beta: 0.1,
            label_smoothing: 0.0,
            divergence: Divergence::ReverseKl,
            normalizer: Normalizer::Local,
        }
    }
}

impl DpoConfig {
    /// Checks every setting against its range, and that the settings go together.
    ///
    /// # Errors
    /// [`Error::Setting`] names the field, its range and its value; [`Error::Unused`] a setting that this loss has no place for.
    ///
    /// # Example
    /// ```
    /// use vr1_dpo::{DpoConfig, DpoLoss};
    /// let config = DpoConfig { loss: DpoLoss::Exo, ..Default::default() };
    /// assert_eq!(config.validate().unwrap_err().to_string(), "`label_smoothing` must be in (0, 0.5) for EXO, but it is 0");
    /// ```
    pub fn validate(&self) -> Result<()> {
        positive("beta", self.beta)?;
        let smoothing = self.label_smoothing;
        match self.loss {
            DpoLoss::Exo => {
                within("label_smoothing", "in (0, 0.5) for EXO", smoothing, smoothing > 0.0 && smoothing < 0.5)?;
            }
            _ => within("label_smoothing", "in [0, 0.5)", smoothing, (0.0..0.5).contains(&smoothing))?,
        }
        if smoothing != 0.0 && !self.smooths() {
            return Err(Error::Unused { field: "label_smoothing", loss: self.loss });
        }
        match self.loss {
            DpoLoss::DiscoPop { temperature } => positive("loss.temperature", temperature)?,
            DpoLoss::Bco { shift } => finite("loss.shift", shift)?,
            _ => {}
        }
        if let Divergence::Alpha(alpha) = self.divergence {
            finite("divergence.alpha", alpha)?;
        }
        if self.divergence != Divergence::ReverseKl && !self.scores() {
            return Err(Error::Unused { field: "divergence", loss: self.loss });
        }
        if let Normalizer::Global { pairs, chosen_tokens } = self.normalizer {
            positive("normalizer.pairs", pairs)?;
            positive("normalizer.chosen_tokens", chosen_tokens)?;
        }
        Ok(())
    }

    /// Whether the loss has a place for label smoothing.
    pub(crate) fn smooths(&self) -> bool {
        use DpoLoss::{Aot, AotUnpaired, Exo, Robust, Sigmoid};
        matches!(self.loss, Sigmoid | Exo | Robust | Aot | AotUnpaired)
    }

    /// Whether the loss has a place for a divergence.
    pub(crate) fn scores(&self) -> bool {
        use DpoLoss::{DiscoPop, Exo, Hinge, Ipo, Robust, Sigmoid, SigmoidNorm};
        matches!(self.loss, Sigmoid | SigmoidNorm | Hinge | Ipo | Exo | Robust | DiscoPop { .. })
    }
}
