use tch::Tensor;

use crate::{Activation, Bias, Linear, Path};

/// `W_down (act(W_gate x) ⊙ W_up x)` (Shazeer, [arXiv:2002.05202](https://arxiv.org/abs/2002.05202)).
#[derive(Debug)]
pub struct GatedMlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    activation: Activation,
}

impl GatedMlp {
    /// An MLP of width `inner` inside, with `gate_proj`, `up_proj` and `down_proj` at `path`.
    pub fn new(path: &Path<'_>, width: i64, inner: i64, bias: Bias, activation: Activation) -> Self {
        Self {
            gate_proj: Linear::new(&path.sub("gate_proj"), width, inner, bias),
            up_proj: Linear::new(&path.sub("up_proj"), width, inner, bias),
            down_proj: Linear::new(&path.sub("down_proj"), inner, width, bias),
            activation,
        }
    }

    /// `[…, width]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let gate = self.activation.forward(&self.gate_proj.forward(x));
        self.down_proj.forward(&(gate * self.up_proj.forward(x)))
    }
}
