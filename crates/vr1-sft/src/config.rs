use crate::{Error, Result};

/// The label that takes part in nothing.
pub const IGNORED: i64 = -100;

/// Whether labels stand at the position of their own token or of the one before.
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
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", content = "tokens", rename_all = "snake_case")
)]
pub enum Normalizer {
    /// By the labels of the tensors handed in (times their weights).
    #[default]
    Local,
    /// By the number of labels (times their weights) of a batch of which the tensors handed in are a part: the losses of the parts add up to
    /// the loss of the whole, and so do their gradients.
    Global(f64),
}

/// The settings of [`sft_loss`](crate::sft_loss).
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
