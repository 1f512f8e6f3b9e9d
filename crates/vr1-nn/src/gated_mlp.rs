use tch::Tensor;
use vr1_torch::Product;

use crate::{Activation, Bias, Linear, Pass, Path, Projections};

/// `W_down (act(W_gate x) ⊙ W_up x)` (Shazeer, [arXiv:2002.05202](https://arxiv.org/abs/2002.05202)).
#[derive(Debug)]
pub struct GatedMlp {
    gate_up: Projections<2>,
    down_proj: Linear,
    activation: Activation,
}

impl GatedMlp {
    /// An MLP of width `inner` inside, with `gate_proj`, `up_proj` and `down_proj` at `path`.
    pub fn new(path: &Path<'_>, width: i64, inner: i64, bias: Bias, activation: Activation) -> Self {
        Self {
            gate_up: Projections::new(path, [("gate_proj", inner), ("up_proj", inner)], width, bias),
            down_proj: Linear::new(&path.sub("down_proj"), inner, width, bias),
            activation,
        }
    }

    /// What reads and what writes, of an MLP that is gated by `silu` and has no adapter.
    pub(crate) fn plain(&self) -> Option<(Product<'_>, Product<'_>)> {
        (self.activation == Activation::Silu).then_some(())?;
        Some((self.gate_up.whole()?, self.down_proj.plain()?))
    }

    /// `[…, width]` to the same shape.
    pub fn forward(&self, x: &Tensor, pass: Pass) -> Tensor {
        let inner = match self.gate_up.joint(x, pass) {
            Some(gate_up) => self.activation.gated(&gate_up),
            None => {
                let [gate, up] = self.gate_up.forward(x, pass);
                self.activation.gate(&gate, &up)
            }
        };
        self.down_proj.forward(&inner, pass)
    }
}
