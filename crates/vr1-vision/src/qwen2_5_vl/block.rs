//! `N` patches of all images, `E` width.

use vr1_nn::{Bias, GatedMlp, Heads, Linear, Pass, Path, Residual, RmsNorm, Rotation, Segments};

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

    /// The first half, attention, added to the residual stream `x`, `[N, E]`.
    pub(super) fn attend(&self, x: &mut Residual, rotation: &Rotation, segments: &Segments) {
        let [query, key, value] = self.heads.split_qkv(&self.qkv.forward(&self.norm1.of(x), Pass::Scoring));
        let seen = segments.attention(&rotation.apply(&query), &rotation.apply(&key), &value, self.heads);
        x.add(self.proj.forward(&seen, Pass::Scoring));
    }

    /// The second half, the MLP.
    pub(super) fn feed(&self, x: &mut Residual) {
        let thought = self.mlp.forward(&self.norm2.of(x), Pass::Scoring);
        x.add(thought);
    }
}
