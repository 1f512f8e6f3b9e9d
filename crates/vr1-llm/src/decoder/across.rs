//! `B` sequences, `T` tokens, `S` states, `D` hidden.

use tch::Tensor;
use vr1_nn::{Bias, Context, GatedMlp, Heads, Init, Linear, Pass, Path, Projections, Residual, RmsNorm};

use super::DecoderConfig;

/// A layer that attends across, to what is shown beside the text, and not to the text itself: attention without positions and a gated
/// MLP, each behind a norm and, by as much as its gate is open, beside the residual stream.
#[derive(Debug)]
pub(crate) struct AcrossLayer {
    input_layernorm: RmsNorm,
    cross_attn: Attention,
    attn_gate: Tensor,
    post_attention_layernorm: RmsNorm,
    mlp: GatedMlp,
    mlp_gate: Tensor,
}

impl AcrossLayer {
    pub(crate) fn new(path: &Path<'_>, config: &DecoderConfig) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let norm = |name| RmsNorm::new(&path.sub(name), hidden, config.rms_norm_eps);
        let gate = |name| path.get(name, &[1], Init::Zeros);
        Self {
            input_layernorm: norm("input_layernorm"),
            cross_attn: Attention::new(&path.sub("cross_attn"), config),
            attn_gate: gate("cross_attn_attn_gate"),
            post_attention_layernorm: norm("post_attention_layernorm"),
            mlp: GatedMlp::new(&path.sub("mlp"), hidden, inner, config.mlp_bias, config.hidden_act),
            mlp_gate: gate("cross_attn_mlp_gate"),
        }
    }

    /// The first half, attention, added to the residual stream `x`, `[B, T, D]`; `index` is the layer's number among those that attend
    /// across.
    pub(crate) fn attend(&self, x: &mut Residual, context: &mut Context<'_>, index: usize) {
        let pass = x.pass();
        let seen = self.cross_attn.forward(&self.input_layernorm.of(x), pass, context, index);
        x.add(seen * self.attn_gate.tanh());
    }

    /// The second half, the MLP, of tokens that are `shown` something, `[B, T, 1]`, or all.
    pub(crate) fn feed(&self, x: &mut Residual, shown: Option<&Tensor>) {
        let pass = x.pass();
        let thought = self.mlp.forward(&self.post_attention_layernorm.of(x), pass);
        let thought = match shown {
            Some(shown) => thought * shown,
            None => thought,
        };
        x.add(thought * self.mlp_gate.tanh());
    }
}

#[derive(Debug)]
struct Attention {
    q_proj: Linear,
    key_value: Projections<2>,
    o_proj: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
    heads: Heads,
}

impl Attention {
    fn new(path: &Path<'_>, config: &DecoderConfig) -> Self {
        let (hidden, heads) = (config.hidden_size, config.heads);
        let (query, key_value) = (heads.count * heads.dim, heads.key_value * heads.dim);
        let norm = |name| RmsNorm::new(&path.sub(name), heads.dim, config.rms_norm_eps);
        Self {
            q_proj: Linear::new(&path.sub("q_proj"), hidden, query, Bias::Without),
            key_value: Projections::new(path, [("k_proj", key_value), ("v_proj", key_value)], hidden, Bias::Without),
            o_proj: Linear::new(&path.sub("o_proj"), query, hidden, Bias::Without),
            q_norm: norm("q_norm"),
            k_norm: norm("k_norm"),
            heads,
        }
    }

    fn forward(&self, x: &Tensor, pass: Pass, context: &mut Context<'_>, index: usize) -> Tensor {
        let heads = self.heads;
        let query = self.q_norm.forward(&heads.split(&self.q_proj.forward(x, pass)));
        let keys = |states: &Tensor| {
            let [key, value] =
                self.key_value.forward(states, pass).map(|x| x.reshape([-1, heads.key_value, heads.dim]));
            [self.k_norm.forward(&key), value.contiguous()]
        };
        self.o_proj.forward(&context.attend_across(index, &query, keys, heads), pass)
    }
}
