//! `N` tokens of all tiles, `E` width.

use vr1_nn::{Activation, Bias, Heads, LayerNorm, Linear, Pass, Path, Residual, Segments};

use super::VitConfig;

/// One block: attention among the patches of a tile, then an MLP.
#[derive(Debug)]
pub(super) struct Block {
    layer_norm1: LayerNorm,
    qkv: [Linear; 3],
    out_proj: Linear,
    layer_norm2: LayerNorm,
    mlp: Mlp,
    heads: Heads,
}

impl Block {
    pub(super) fn new(path: &Path<'_>, config: &VitConfig) -> Self {
        let width = config.hidden_size;
        let linear = |name| Linear::new(&path.sub("self_attn").sub(name), width, width, Bias::With);
        Self {
            layer_norm1: LayerNorm::new(&path.sub("layer_norm1"), width, config.layer_norm_eps),
            qkv: ["q_proj", "k_proj", "v_proj"].map(linear),
            out_proj: linear("out_proj"),
            layer_norm2: LayerNorm::new(&path.sub("layer_norm2"), width, config.layer_norm_eps),
            mlp: Mlp::new(&path.sub("mlp"), config),
            heads: config.heads(),
        }
    }

    /// The first half, attention, added to the residual stream `x`, `[N, E]`.
    pub(super) fn attend(&self, x: &mut Residual, tiles: &Segments) {
        let normed = self.layer_norm1.of(x);
        let split = |layer: &Linear| layer.forward(&normed, Pass::Scoring).view([-1, self.heads.count, self.heads.dim]);
        let [query, key, value] = self.qkv.each_ref().map(split);
        x.add(self.out_proj.forward(&tiles.attention(&query, &key, &value, self.heads), Pass::Scoring));
    }

    /// The second half, the MLP.
    pub(super) fn feed(&self, x: &mut Residual) {
        let normed = self.layer_norm2.of(x);
        let inner = self.mlp.hidden_act.forward(&self.mlp.fc1.forward(&normed, Pass::Scoring));
        x.add(self.mlp.fc2.forward(&inner, Pass::Scoring));
    }
}

#[derive(Debug)]
pub(super) struct Mlp {
    fc1: Linear,
    fc2: Linear,
    hidden_act: Activation,
}

impl Mlp {
    pub(super) fn new(path: &Path<'_>, config: &VitConfig) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            fc1: Linear::new(&path.sub("fc1"), width, inner, Bias::With),
            fc2: Linear::new(&path.sub("fc2"), inner, width, Bias::With),
            hidden_act: config.hidden_act,
        }
    }
}
