//! `B` sequences, `T` tokens, `D` hidden.

use tch::Tensor;
use vr1_nn::{Context, GatedMlp, Heads, Linear, Pass, Path, PlainLayer, Projections, Residual, RmsNorm, Rotation};

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

    /// Both halves at once, of sampled tokens, where the device has that; whether it was so.
    pub(crate) fn decode(
        &self,
        x: &mut Residual,
        rotation: &Rotation,
        context: &mut Context<'_>,
        index: usize,
    ) -> bool {
        // Whatever is added to a layer is seen here.
        let Self { input_layernorm, self_attn, post_attention_layernorm, mlp } = self;
        let Attention { qkv, o_proj, heads } = self_attn;
        let plain = PlainLayer {
            norm: input_layernorm,
            qkv,
            output: o_proj,
            mlp_norm: post_attention_layernorm,
            mlp,
            heads: *heads,
        };
        let decoded = context.decode(index, plain, x.sum(), rotation);
        let whole = decoded.is_some();
        if let Some(behind) = decoded {
            x.through(|_| behind);
        }
        whole
    }

    /// The first half, attention, added to the residual stream `x`, `[B, T, D]`; `index` is the layer's number.
    pub(crate) fn attend(&self, x: &mut Residual, rotation: &Rotation, context: &mut Context<'_>, index: usize) {
        let pass = x.pass();
        let seen = self.self_attn.forward(&self.input_layernorm.of(x), pass, rotation, context, index);
        x.add(seen);
    }

    /// The second half, the MLP.
    pub(crate) fn feed(&self, x: &mut Residual) {
        let pass = x.pass();
        let thought = self.mlp.forward(&self.post_attention_layernorm.of(x), pass);
        x.add(thought);
    }
}

#[derive(Debug)]
struct Attention {
    qkv: Projections<3>,
    o_proj: Linear,
    heads: Heads,
}

impl Attention {
    fn new(path: &Path<'_>, config: &DecoderConfig) -> Self {
        let (hidden, heads) = (config.hidden_size, config.heads);
        let (query, key_value) = (heads.count * heads.dim, heads.key_value * heads.dim);
        let parts = [("q_proj", query), ("k_proj", key_value), ("v_proj", key_value)];
        Self {
            qkv: Projections::new(path, parts, hidden, config.qkv_bias),
            o_proj: Linear::new(&path.sub("o_proj"), query, hidden, config.output_bias),
            heads,
        }
    }

    fn forward(&self, x: &Tensor, pass: Pass, rotation: &Rotation, context: &mut Context<'_>, index: usize) -> Tensor {
        let joint = self.qkv.joint(x, pass);
        if let Some(seen) = joint.as_ref().and_then(|qkv| context.attend_joint(index, qkv, rotation, self.heads)) {
            return self.o_proj.forward(&seen, pass);
        }
        let [query, key, value] = self.qkv.apart(x, pass, joint).map(|part| self.heads.split(&part));
        let (query, key) = (rotation.apply(&query), rotation.apply(&key));
        self.o_proj.forward(&context.attend(index, &query, key, value.contiguous(), self.heads), pass)
    }
}
