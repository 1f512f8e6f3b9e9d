//! `B` sequences, `T` tokens, `D` hidden.

use tch::Tensor;
use vr1_nn::{Activation, Context, Heads, Linear, Path, Result, RmsNorm, Rotation};

use super::Qwen2Config;

/// One decoder layer: attention and a gated MLP, each behind a norm and beside the residual stream.
#[derive(Debug)]
pub(crate) struct Layer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

impl Layer {
    pub(crate) fn new(path: &Path<'_>, config: &Qwen2Config) -> Result<Self> {
        let norm = |name| RmsNorm::new(&path.sub(name), config.hidden_size, config.rms_norm_eps);
        Ok(Self {
            input_layernorm: norm("input_layernorm"),
            self_attn: Attention::new(&path.sub("self_attn"), config)?,
            post_attention_layernorm: norm("post_attention_layernorm"),
            mlp: Mlp::new(&path.sub("mlp"), config),
        })
    }

    /// `[B, T, D]` to the same shape; `index` is the layer's number.
    pub(crate) fn forward(&self, x: &Tensor, rotation: &Rotation, context: &mut Context<'_>, index: usize) -> Tensor {
        let x = x + self.self_attn.forward(&self.input_layernorm.forward(x), rotation, context, index);
        &x + self.mlp.forward(&self.post_attention_layernorm.forward(&x))
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
    fn new(path: &Path<'_>, config: &Qwen2Config) -> Result<Self> {
        let (hidden, heads) = (config.hidden_size, config.heads()?);
        let key_value = heads.key_value * heads.dim;
        Ok(Self {
            q_proj: Linear::new(&path.sub("q_proj"), hidden, hidden),
            k_proj: Linear::new(&path.sub("k_proj"), hidden, key_value),
            v_proj: Linear::new(&path.sub("v_proj"), hidden, key_value),
            o_proj: Linear::without_bias(&path.sub("o_proj"), hidden, hidden),
            heads,
        })
    }

    fn forward(&self, x: &Tensor, rotation: &Rotation, context: &mut Context<'_>, index: usize) -> Tensor {
        let query = rotation.apply(&self.heads.split(&self.q_proj.forward(x)));
        let key = rotation.apply(&self.heads.split(&self.k_proj.forward(x)));
        let value = self.heads.split(&self.v_proj.forward(x));
        self.o_proj.forward(&context.attend(index, &query, key, value, self.heads))
    }
}

#[derive(Debug)]
struct Mlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    hidden_act: Activation,
}

impl Mlp {
    fn new(path: &Path<'_>, config: &Qwen2Config) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            gate_proj: Linear::without_bias(&path.sub("gate_proj"), hidden, inner),
            up_proj: Linear::without_bias(&path.sub("up_proj"), hidden, inner),
            down_proj: Linear::without_bias(&path.sub("down_proj"), inner, hidden),
            hidden_act: config.hidden_act,
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let gate = self.hidden_act.forward(&self.gate_proj.forward(x));
        self.down_proj.forward(&(gate * self.up_proj.forward(x)))
    }
}
