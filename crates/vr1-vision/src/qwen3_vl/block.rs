//! `N` patches of all images, `E` width.

use vr1_nn::{Activation, Bias, Heads, LayerNorm, Linear, Pass, Path, Residual, Rotation, Segments};

use super::Qwen3VlVisionConfig;

pub(super) const NORM_EPSILON: f64 = 1e-6;

/// One block of the tower: attention among a frame's patches, then an MLP.
#[derive(Debug)]
pub(super) struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    linear_fc1: Linear,
    linear_fc2: Linear,
    hidden_act: Activation,
    heads: Heads,
}

impl Block {
    pub(super) fn new(path: &Path<'_>, config: &Qwen3VlVisionConfig) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |name, inputs, outputs| Linear::new(&path.sub(name), inputs, outputs, Bias::With);
        Self {
            norm1: LayerNorm::new(&path.sub("norm1"), width, NORM_EPSILON),
            qkv: linear("attn.qkv", width, 3 * width),
            proj: linear("attn.proj", width, width),
            norm2: LayerNorm::new(&path.sub("norm2"), width, NORM_EPSILON),
            linear_fc1: linear("mlp.linear_fc1", width, inner),
            linear_fc2: linear("mlp.linear_fc2", inner, width),
            hidden_act: config.hidden_act,
            heads: config.heads(),
        }
    }

    /// The first half, attention, added to the residual stream `x`, `[N, E]`.
    pub(super) fn attend(&self, x: &mut Residual, rotation: &Rotation, frames: &Segments) {
        let [query, key, value] = self.heads.split_qkv(&self.qkv.forward(&self.norm1.of(x), Pass::Scoring));
        let seen = frames.attention(&rotation.apply(&query), &rotation.apply(&key), &value, self.heads);
        x.add(self.proj.forward(&seen, Pass::Scoring));
    }

    /// The second half, the MLP.
    pub(super) fn feed(&self, x: &mut Residual) {
        let inner = self.hidden_act.forward(&self.linear_fc1.forward(&self.norm2.of(x), Pass::Scoring));
        x.add(self.linear_fc2.forward(&inner, Pass::Scoring));
    }
}
