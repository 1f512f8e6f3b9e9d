use serde::{Deserialize, Serialize};
use tch::Tensor;
use vr1_torch::{Gate, gated, granted, quick_gelu, silu_product};

/// An activation by the name that `hidden_act` has in a checkpoint's config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · Φ(x)` (Hendrycks & Gimpel, [arXiv:1606.08415](https://arxiv.org/abs/1606.08415)).
    Gelu,
    /// Its approximation `x · (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`.
    #[serde(rename = "gelu_pytorch_tanh", alias = "gelu_new")]
    GeluTanh,
    /// `x · σ(1.702 x)`, the approximation that CLIP was trained with.
    QuickGelu,
    /// `x · σ(x)`.
    Silu,
}

impl Activation {
    /// The activation of every element.
    ///
    /// # Panics
    /// As all operations of tensors do where libtorch refuses them: for want of memory.
    pub fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Self::Gelu => x.gelu("none"),
            Self::GeluTanh => x.gelu("tanh"),
            Self::QuickGelu => granted(quick_gelu(x)),
            Self::Silu => x.silu(),
        }
    }

    /// The activation of `gate` times `up`.
    ///
    /// # Panics
    /// As all operations of tensors do where libtorch refuses them: of unlike shapes, or for want of memory.
    pub fn gate(self, gate: &Tensor, up: &Tensor) -> Tensor {
        match self {
            Self::Silu => granted(silu_product(gate, up)),
            Self::Gelu | Self::GeluTanh | Self::QuickGelu => self.forward(gate) * up,
        }
    }

    /// The same of gate and up side by side, `[…, 2F]` to `[…, F]`, without gradients.
    ///
    /// # Panics
    /// As [`gate`](Self::gate).
    pub fn gated(self, gate_up: &Tensor) -> Tensor {
        let gate = match self {
            Self::Gelu => Gate::Gelu,
            Self::GeluTanh => Gate::GeluTanh,
            Self::QuickGelu => Gate::QuickGelu,
            Self::Silu => Gate::Silu,
        };
        granted(gated(gate_up, gate))
    }
}
