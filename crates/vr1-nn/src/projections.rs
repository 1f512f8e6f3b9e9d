use std::array;

use tch::Tensor;
use vr1_torch::{Product, gradients_collected};

use crate::adjoining::joint;
use crate::linear::linear;
use crate::{Bias, Init, Linear, Pass, Path};

/// Linear layers that read the same numbers: queries, keys and values; gate and up.
///
/// Each has its own parameters by its own name, which are rows of one matrix in memory, so that nothing need be put
/// together for them to be one product: they are one where tokens are sampled and none of them has an adapter.
#[derive(Debug)]
pub struct Projections<const N: usize> {
    layers: [Linear; N],
    outputs: [i64; N],
    /// The layers' weights and biases as one; none where an adapter adds to what they give.
    joint: Option<(Tensor, Option<Tensor>)>,
}

impl<const N: usize> Projections<N> {
    /// Layers from `inputs` numbers, each with its number of outputs at its place below `path`.
    pub fn new(path: &Path<'_>, layers: [(&str, i64); N], inputs: i64, bias: Bias) -> Self {
        let weights = path.get_adjoining(&layers, "weight", &[inputs], Linear::init(inputs));
        let biases = (bias == Bias::With).then(|| path.get_adjoining(&layers, "bias", &[], Init::Zeros));
        let parts: [Linear; N] = array::from_fn(|i| Linear {
            weight: weights[i].shallow_clone(),
            bias: biases.as_ref().map(|biases| biases[i].shallow_clone()),
            lora: path.sub(layers[i].0).lora(inputs, layers[i].1),
        });
        let whole = || match &biases {
            Some(biases) => Some((joint(&weights)?, Some(joint(biases)?))),
            None => Some((joint(&weights)?, None)),
        };
        let joint = if parts.iter().all(|layer| layer.lora.is_none()) { whole() } else { None };
        Self { layers: parts, outputs: layers.map(|(_, outputs)| outputs), joint }
    }

    /// The layers' weights and biases as one; nothing where an adapter adds to what they give.
    pub(crate) fn whole(&self) -> Option<Product<'_>> {
        self.joint.as_ref().map(|(weight, bias)| (weight, bias.as_ref()))
    }

    /// `[…, inputs]` to `[…, Σ outputs]`, those of all layers side by side, where tokens are sampled; none where gradients are
    /// collected through them, or an adapter adds to what one of them gives.
    pub fn joint(&self, x: &Tensor, pass: Pass) -> Option<Tensor> {
        let (weight, bias) = self.joint.as_ref()?;
        let trained =
            |layer: &Linear| layer.weight.requires_grad() || layer.bias.as_ref().is_some_and(Tensor::requires_grad);
        if pass == Pass::Scoring || gradients_collected() && (x.requires_grad() || self.layers.iter().any(trained)) {
            return None;
        }
        Some(linear(x, weight, bias.as_ref()))
    }

    /// `[…, inputs]` to `[…, outputs]` of each layer; views of one tensor where they are one product.
    pub fn forward(&self, x: &Tensor, pass: Pass) -> [Tensor; N] {
        self.apart(x, pass, self.joint(x, pass))
    }

    /// The same where it is known what [`joint`](Self::joint) gives.
    pub fn apart(&self, x: &Tensor, pass: Pass, joint: Option<Tensor>) -> [Tensor; N] {
        let Some(whole) = joint else { return self.layers.each_ref().map(|layer| layer.forward(x, pass)) };
        let mut start = 0;
        self.outputs.map(|outputs| {
            start += outputs;
            whole.narrow(-1, start - outputs, outputs)
        })
    }
}
