use tch::{Kind, Tensor};
use vr1_torch::{add_rms_norm, granted};

use crate::{Init, Path, Residual};

/// `x / √(mean(x²) + ε) · w` (Zhang & Sennrich, [arXiv:1910.07467](https://arxiv.org/abs/1910.07467)), computed in f32
/// (f64 for f64).
#[derive(Debug)]
pub struct RmsNorm {
    weight: Tensor,
    epsilon: f64,
}

impl RmsNorm {
    /// A norm over the last dimension with `weight` `[size]` at `path`.
    pub fn new(path: &Path<'_>, size: i64, epsilon: f64) -> Self {
        Self { weight: path.get("weight", &[size], Init::Ones), epsilon }
    }

    /// Weight and ε.
    pub(crate) fn parts(&self) -> (&Tensor, f64) {
        (&self.weight, self.epsilon)
    }

    /// `[…, size]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        // A GPU has one kernel for it, which computes narrow kinds in f32 too.
        if matches!(x.kind(), Kind::Float | Kind::Double) || x.device().is_cuda() {
            return x.rms_norm(self.weight.size(), Some(&self.weight), self.epsilon);
        }
        let wide = x.to_kind(Kind::Float);
        let scale = (wide.square().mean_dim(-1, true, Kind::Float) + self.epsilon).rsqrt();
        (wide * scale).to_kind(x.kind()) * &self.weight
    }

    /// The norm of a residual stream, to which what waits is added on the way.
    ///
    /// # Panics
    /// As all operations of tensors do where libtorch refuses them: where what was added is of another shape.
    pub fn of(&self, residual: &mut Residual) -> Tensor {
        match residual.parts() {
            (sum, None) => self.forward(sum),
            (sum, Some(waiting)) => granted(add_rms_norm(sum, &waiting, &self.weight, self.epsilon)),
        }
    }
}

/// `(x − mean) / √(var + ε) · w + b` (Ba et al., [arXiv:1607.06450](https://arxiv.org/abs/1607.06450)).
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// A norm over the last dimension with `weight` and `bias` `[size]` at `path`.
    pub fn new(path: &Path<'_>, size: i64, epsilon: f64) -> Self {
        let weight = path.get("weight", &[size], Init::Ones);
        Self { weight, bias: path.get("bias", &[size], Init::Zeros), epsilon }
    }

    /// `[…, size]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.epsilon, false)
    }

    /// The norm of a residual stream.
    pub fn of(&self, residual: &mut Residual) -> Tensor {
        self.forward(residual.sum())
    }
}
