use serde::{Deserialize, Serialize};
use tch::Tensor;

/// An activation by the name that `hidden_act` has in a checkpoint's config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · Φ(x)` (Hendrycks & Gimpel, [arXiv:1606.08415](https://arxiv.org/abs/1606.08415)).
    Gelu,
    /// `x · σ(1.702 x)`, the approximation that CLIP was trained with.
    QuickGelu,
    /// `x · σ(x)`.
    Silu,
}

impl Activation {
    /// The activation of every element.
    pub fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Self::Gelu => x.gelu("none"),
            Self::QuickGelu => x * (x * 1.702).sigmoid(),
            Self::Silu => x.silu(),
        }
    }
}
