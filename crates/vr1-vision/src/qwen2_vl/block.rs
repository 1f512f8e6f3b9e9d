//! `B` images of one size, `N` patches of each, `E` width.

use tch::Tensor;
use vr1_nn::{Activation, Heads, LayerNorm, Linear, Path, Result, Rotation, attention};

use super::Qwen2VlVisionConfig;

const NORM_EPSILON: f64 = 1e-6;

/// One block of the tower: attention among an image's patches, then an MLP.
#[derive(Debug)]
pub(crate) struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    hidden_act: Activation,
    heads: Heads,
}

impl Block {
    pub(crate) fn new(path: &Path<'_>, config: &Qwen2VlVisionConfig) -> Result<Self> {
        let (width, inner) = (config.embed_dim, config.embed_dim * config.mlp_ratio);
        Ok(Self {
            norm1: LayerNorm::new(&path.sub("norm1"), width, NORM_EPSILON),
            qkv: Linear::new(&path.sub("attn.qkv"), width, 3 * width),
            proj: Linear::new(&path.sub("attn.proj"), width, width),
            norm2: LayerNorm::new(&path.sub("norm2"), width, NORM_EPSILON),
            fc1: Linear::new(&path.sub("mlp.fc1"), width, inner),
            fc2: Linear::new(&path.sub("mlp.fc2"), inner, width),
            hidden_act: config.hidden_act,
            heads: config.heads()?,
        })
    }

    /// `[B, N, E]` to the same shape.
    pub(crate) fn forward(&self, x: &Tensor, rotation: &Rotation) -> Tensor {
        let parts = self.qkv.forward(&self.norm1.forward(x)).chunk(3, -1);
        let query = rotation.apply(&self.heads.split(&parts[0]));
        let key = rotation.apply(&self.heads.split(&parts[1]));
        let value = self.heads.split(&parts[2]);
        let x = x + self.proj.forward(&attention(&query, &key, &value, None, self.heads));
        let inner = self.hidden_act.forward(&self.fc1.forward(&self.norm2.forward(&x)));
        x + self.fc2.forward(&inner)
    }
}

/// Joins squares of patches into tokens of the language model.
#[derive(Debug)]
pub(crate) struct PatchMerger {
    ln_q: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    joined: i64,
}

impl PatchMerger {
    pub(crate) fn new(path: &Path<'_>, config: &Qwen2VlVisionConfig) -> Self {
        let joined = config.embed_dim * config.spatial_merge_size * config.spatial_merge_size;
        Self {
            ln_q: LayerNorm::new(&path.sub("ln_q"), config.embed_dim, NORM_EPSILON),
            fc1: Linear::new(&path.sub("mlp.0"), joined, joined),
            fc2: Linear::new(&path.sub("mlp.2"), joined, config.hidden_size),
            joined,
        }
    }

    /// `[B, N, E]` to `[B · N / merge², D]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let x = self.ln_q.forward(x).view([-1, self.joined]);
        self.fc2.forward(&Activation::Gelu.forward(&self.fc1.forward(&x)))
    }
}
