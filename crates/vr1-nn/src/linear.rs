use tch::Tensor;
use vr1_torch::Product;

use crate::lora::Lora;
use crate::{Init, Pass, Path};

/// Whether a linear layer has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// `b` is a parameter.
    With,
    /// There is none.
    Without,
}

/// `y = x Wᵀ + b`, with what a LoRA adapter adds where the loader has one for this layer.
#[derive(Debug)]
pub struct Linear {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Tensor>,
    pub(crate) lora: Option<Lora>,
}

impl Linear {
    /// A layer with `weight` `[outputs, inputs]` and, where it has one, `bias` `[outputs]` at `path`.
    pub fn new(path: &Path<'_>, inputs: i64, outputs: i64, bias: Bias) -> Self {
        let weight = path.get("weight", &[outputs, inputs], Self::init(inputs));
        let bias = (bias == Bias::With).then(|| path.get("bias", &[outputs], Init::Zeros));
        Self { weight, bias, lora: path.lora(inputs, outputs) }
    }

    /// How a weight that reads so many numbers starts.
    pub(crate) fn init(inputs: i64) -> Init {
        Init::Normal((1.0 / inputs as f64).sqrt())
    }

    /// Weight and bias; nothing where an adapter adds to what they give.
    pub(crate) fn plain(&self) -> Option<Product<'_>> {
        self.lora.is_none().then_some((&self.weight, self.bias.as_ref()))
    }

    /// `[…, inputs]` to `[…, outputs]`.
    pub fn forward(&self, x: &Tensor, pass: Pass) -> Tensor {
        let y = match pass {
            Pass::Scoring => x.linear(&self.weight, self.bias.as_ref()),
            Pass::Sampling => linear(x, &self.weight, self.bias.as_ref()),
        };
        match &self.lora {
            Some(lora) => (&y + lora.forward(x)).to_kind(y.kind()),
            None => y,
        }
    }
}

/// Where tokens are sampled, `x Wᵀ + b` for `x` `[…, inputs]`, a matrix `[outputs, inputs]` and a vector `[outputs]`, all of one kind: `[…, outputs]`.
///
/// # Panics
/// As all operations of tensors do where libtorch refuses them: of shapes that do not fit, or for want of memory.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    vr1_torch::granted(vr1_torch::linear(x, weight, bias))
}

/// A table of vectors, one a token id.
#[derive(Debug)]
pub struct Embedding {
    weight: Tensor,
}

impl Embedding {
    /// A table with `weight` `[count, size]` at `path`.
    pub fn new(path: &Path<'_>, count: i64, size: i64) -> Self {
        Self { weight: path.get("weight", &[count, size], Init::Normal(0.02)) }
    }

    /// Ids `[…]` to vectors `[…, size]`.
    pub fn forward(&self, ids: &Tensor) -> Tensor {
        Tensor::embedding(&self.weight, ids, -1, false, false)
    }

    /// The table itself, `[count, size]`: the output matrix of a model with tied embeddings.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }
}
