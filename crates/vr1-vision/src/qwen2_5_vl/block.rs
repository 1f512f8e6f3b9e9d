//! `N` patches of all images, `E` width.

use tch::Tensor;
use vr1_nn::{Bias, GatedMlp, Heads, Linear, Path, RmsNorm, Rotation, Segments};

use super::Qwen25VlVisionConfig;

pub(super) const NORM_EPSILON: f64 = 1e-6;

/// One block of the tower: attention among the patches of a window or frame, then a gated MLP.
#[derive(Debug)]
pub(super) struct Block {
    norm1: RmsNorm,
    qkv: Linear,
    proj: Linear,
    norm2: RmsNorm,
    mlp: GatedMlp,
    heads: Heads,
}

impl Block {
    pub(super) fn new(path: &Path<'_>, config: &Qwen25VlVisionConfig) -> Self {
        let width = config.hidden_size;
        let mlp = GatedMlp::new(&path.sub("mlp"), width, config.intermediate_size, Bias::With, config.hidden_act);
        Self {
            norm1: RmsNorm::new(&path.sub("norm1"), width, NORM_EPSILON),
            qkv: Linear::new(&path.sub("attn.qkv"), width, 3 * width, Bias::With),
            proj: Linear::new(&path.sub("attn.proj"), width, width, Bias::With),
            norm2: RmsNorm::new(&path.sub("norm2"), width, NORM_EPSILON),
            mlp,
            heads: config.heads(),
        }
    }

    /// The first half, attention beside the residual stream: `[N, E]` to the same shape.
    pub(super) fn attend(&self, x: &Tensor, rotation: &Rotation, segments: &Segments) -> Tensor {
        let [query, key, value] = self.heads.split_qkv(&self.qkv.forward(&self.norm1.forward(x)));
        let seen = segments.attention(&rotation.apply(&query), &rotation.apply(&key), &value, self.heads);
        x + self.proj.forward(&seen)
    }

    /// The second half, the MLP beside it.
    pub(super) fn feed(&self, x: &Tensor) -> Tensor {
        x + self.mlp.forward(&self.norm2.forward(x))
    }
}
