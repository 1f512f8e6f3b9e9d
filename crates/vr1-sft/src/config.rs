use crate::{Error, Result};

/// The label that takes part in nothing, as in Hugging Face.
///
/// # Example
/// ```
/// assert_eq!(vr1_sft::IGNORED, -100);
/// ```
pub const IGNORED: i64 = -100;

/// Whether labels stand at the position of their own token or of the one before.
///
/// # Example
/// Of two positions the first finds token 1 three times as likely as token 0, the second both alike.
/// ```
/// use tch::Tensor;
/// use vr1_sft::{Alignment, SftConfig, sft_loss};
/// let logits = Tensor::from_slice(&[0.0, 3f64.ln(), 0.0, 0.0]).view([1, 2, 2]);
/// let labels = Tensor::from_slice2(&[[0i64, 1]]);
/// for (alignment, expected) in [
///     (Alignment::NextToken, (4.0 / 3f64).ln()),          // the first position predicts the second label
///     (Alignment::Aligned, (4f64.ln() + 2f64.ln()) / 2.0), // each predicts its own
/// ] {
///     let (loss, _) = sft_loss(&logits, &labels, &SftConfig { alignment, ..Default::default() })?;
///     assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Alignment {
    /// `labels` are the input ids themselves, as in Hugging Face: the logits at `t` predict the label at `t + 1`, and the shift is made
    /// inside.
    #[default]
    NextToken,
    /// The logits at `t` predict the label at `t`: the shift has been made.
    Aligned,
}

/// The loss of one token with probability `p`.
///
/// # Example
/// `p = ¼`: ln 4, and a quarter of it.
/// ```
/// use tch::Tensor;
/// use vr1_sft::{Alignment, Objective, SftConfig, sft_loss};
/// let (logits, labels) = (Tensor::from_slice(&[0.0, 3f64.ln()]).view([1, 1, 2]), Tensor::from_slice2(&[[0i64]]));
/// for (objective, expected) in [(Objective::CrossEntropy, 4f64.ln()), (Objective::Dft, 4f64.ln() / 4.0)] {
///     let config = SftConfig { objective, alignment: Alignment::Aligned, ..Default::default() };
///     let (loss, _) = sft_loss(&logits, &labels, &config)?;
///     assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Objective {
    /// `−log p`: cross-entropy.
    #[default]
    CrossEntropy,
    /// `−sg(p) · log p`: dynamic fine-tuning, whose gradient does not blow up at improbable tokens
    /// ([arXiv:2508.05629](https://arxiv.org/abs/2508.05629)).
    Dft,
}

/// By what the sum over tokens is divided.
///
/// # Example
/// One label of a batch of four, between two tokens alike: ln 2 over 4.
/// ```
/// use tch::{Device, Kind, Tensor};
/// use vr1_sft::{Alignment, Normalizer, SftConfig, sft_loss};
/// let (logits, labels) = (Tensor::zeros([1, 1, 2], (Kind::Double, Device::Cpu)), Tensor::from_slice2(&[[0i64]]));
/// let config = SftConfig { normalizer: Normalizer::Global(4.0), alignment: Alignment::Aligned, ..Default::default() };
/// assert!((sft_loss(&logits, &labels, &config)?.1.loss - 2f64.ln() / 4.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", content = "tokens", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Normalizer {
    /// By the labels of the tensors handed in (times their weights).
    #[default]
    Local,
    /// By the number of labels (times their weights) of a batch of which the tensors handed in are a part: the losses of the parts add up to
    /// the loss of the whole, and so do their gradients.
    Global(f64),
}

/// The settings of [`sft_loss`](crate::sft_loss). `Default` is Hugging Face's loss.
///
/// # Example
/// Label smoothing of 0.1 where `p = ¼, ¾`: 0.9 of ln 4 and 0.1 of the mean of ln 4 and ln 4/3.
/// ```
/// use tch::Tensor;
/// use vr1_sft::{Alignment, SftConfig, sft_loss};
/// let (logits, labels) = (Tensor::from_slice(&[0.0, 3f64.ln()]).view([1, 1, 2]), Tensor::from_slice2(&[[0i64]]));
/// let config = SftConfig { label_smoothing: 0.1, alignment: Alignment::Aligned, ..Default::default() };
/// let expected = 0.9 * 4f64.ln() + 0.1 * (4f64.ln() + (4.0 / 3f64).ln()) / 2.0;
/// assert!((sft_loss(&logits, &labels, &config)?.1.loss - expected).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct SftConfig {
    /// The loss of a token. Default: cross-entropy.
    pub objective: Objective,
    /// ε of label smoothing: `(1 − ε)·nll + ε·mean_v(−log p_v)` ([arXiv:1512.00567](https://arxiv.org/abs/1512.00567)). Default: 0.
    pub label_smoothing: f64,
    /// Where labels stand. Default: at their own token, the shift is made inside.
    pub alignment: Alignment,
    /// By what the sum is divided. Default: the labels handed in.
    pub normalizer: Normalizer,
}

impl SftConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Setting`] names the field, its range and its value.
    ///
    /// # Example
    /// ```
    /// let config = vr1_sft::SftConfig { label_smoothing: 1.0, ..Default::default() };
    /// assert_eq!(config.validate().unwrap_err().to_string(), "`label_smoothing` must be in [0, 1), but it is 1");
    /// ```
    pub fn validate(&self) -> Result<()> {
        let smoothing = self.label_smoothing;
        if !(0.0..1.0).contains(&smoothing) {
            return Err(Error::Setting { field: "label_smoothing", expected: "in [0, 1)", got: smoothing });
        }
        if self.objective == Objective::Dft && smoothing != 0.0 {
            return Err(Error::Setting { field: "label_smoothing", expected: "0 with DFT", got: smoothing });
        }
        match self.normalizer {
            Normalizer::Global(tokens) if !(tokens.is_finite() && tokens > 0.0) => {
                Err(Error::Setting { field: "normalizer", expected: "a positive number of tokens", got: tokens })
            }
            _ => Ok(()),
        }
    }
}
