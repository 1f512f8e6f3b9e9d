//! `N` patches of all images, `M` tokens they merge into, `E` width, `D` the language model's width.

use tch::Tensor;
use vr1_nn::{Activation, Bias, LayerNorm, Linear, Pass, Path};

use super::Qwen3VlVisionConfig;
use super::block::NORM_EPSILON;

/// What is normed on the way into a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Normed {
    /// Each patch for itself.
    Patches,
    /// The patches of a token together.
    Tokens,
}

/// Joins squares of patches into tokens of the language model.
#[derive(Debug)]
pub(super) struct Merger {
    norm: LayerNorm,
    linear_fc1: Linear,
    linear_fc2: Linear,
    normed: Normed,
    joined: i64,
}

impl Merger {
    pub(super) fn new(path: &Path<'_>, config: &Qwen3VlVisionConfig, normed: Normed) -> Self {
        let joined = config.hidden_size * config.squares().merge.pow(2);
        let size = if normed == Normed::Patches { config.hidden_size } else { joined };
        Self {
            norm: LayerNorm::new(&path.sub("norm"), size, NORM_EPSILON),
            linear_fc1: Linear::new(&path.sub("linear_fc1"), joined, joined, Bias::With),
            linear_fc2: Linear::new(&path.sub("linear_fc2"), joined, config.out_hidden_size, Bias::With),
            normed,
            joined,
        }
    }

    /// `[N, E]` to `[M, D]`.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let joined = match self.normed {
            Normed::Patches => self.norm.forward(x).view([-1, self.joined]),
            Normed::Tokens => self.norm.forward(&x.view([-1, self.joined])),
        };
        let inner = Activation::Gelu.forward(&self.linear_fc1.forward(&joined, Pass::Scoring));
        self.linear_fc2.forward(&inner, Pass::Scoring)
    }
}
