use tch::Tensor;

use crate::{Init, Path};

/// `y = x Wᵀ + b`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// A layer with `weight` `[outputs, inputs]` and `bias` `[outputs]` at `path`.
    pub fn new(path: &Path<'_>, inputs: i64, outputs: i64) -> Self {
        let bias = Some(path.get("bias", &[outputs], Init::Zeros));
        Self { bias, ..Self::without_bias(path, inputs, outputs) }
    }

    /// A layer with `weight` `[outputs, inputs]` alone at `path`.
    pub fn without_bias(path: &Path<'_>, inputs: i64, outputs: i64) -> Self {
        let init = Init::Normal((1.0 / inputs as f64).sqrt());
        Self { weight: path.get("weight", &[outputs, inputs], init), bias: None }
    }

    /// `[…, inputs]` to `[…, outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
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
