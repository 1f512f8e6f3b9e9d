//! `B` sequences, `T` tokens, `D` hidden.

use tch::Tensor;
use vr1_nn::{Context, GatedMlp, Heads, Linear, Path, RmsNorm, Rotation};

use super::DecoderConfig;

/// One decoder layer: attention and a gated MLP, each behind a norm and beside the residual stream.
#[derive(Debug)]
pub(crate) struct Layer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: GatedMlp,
}

impl Layer {
    pub(crate) fn new(path: &Path<'_>, config: &DecoderConfig) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let norm = |name| RmsNorm::new(&path.sub(name), hidden, config.rms_norm_eps);
        Self {
            input_layernorm: norm("input_layernorm"),
            self_attn: Attention::new(&path.sub("self_attn"), config),
            post_attention_layernorm: norm("post_attention_layernorm"),
            mlp: GatedMlp::new(&path.sub("mlp"), hidden, inner, config.mlp_bias, config.hidden_act),
        }
    }

    /// `[B, T, D]` to the same shape; `index` is the layer's number.
    pub(crate) fn forward(&self, x: &Tensor, rotation: &Rotation, context: &mut Context<'_>, index: usize) -> Tensor {
        self.feed(&self.attend(x, rotation, context, index))
    }

    /// The first half, attention beside the residual stream.
    pub(crate) fn attend(&self, x: &Tensor, rotation: &Rotation, context: &mut Context<'_>, index: usize) -> Tensor {
        x + self.self_attn.forward(&self.input_layernorm.forward(x), rotation, context, index)
    }

    /// The second half, the MLP beside it.
    pub(crate) fn feed(&self, x: &Tensor) -> Tensor {
        x + self.mlp.forward(&self.post_attention_layernorm.forward(x))
    }
}

#[derive(Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    heads: Heads,
}

impl Attention {
    fn new(path: &Path<'_>, config: &DecoderConfig) -> Self {
        let (hidden, heads) = (config.hidden_size, config.heads);
        let (query, key_value) = (heads.count * heads.dim, heads.key_value * heads.dim);
        Self {
            q_proj: Linear::new(&path.sub("q_proj"), hidden, query, config.qkv_bias),
            k_proj: Linear::new(&path.sub("k_proj"), hidden, key_value, config.qkv_bias),
            v_proj: Linear::new(&path.sub("v_proj"), hidden, key_value, config.qkv_bias),
            o_proj: Linear::new(&path.sub("o_proj"), query, hidden, config.output_bias),
            heads,
        }
    }

    fn forward(&self, x: &Tensor, rotation: &Rotation, context: &mut Context<'_>, index: usize) -> Tensor {
        let query = rotation.apply(&self.heads.split(&self.q_proj.forward(x)));
        let key = rotation.apply(&self.heads.split(&self.k_proj.forward(x)));
        let value = self.heads.split(&self.v_proj.forward(x));
        self.o_proj.forward(&context.attend(index, &query, key, value, self.heads))
    }
}
