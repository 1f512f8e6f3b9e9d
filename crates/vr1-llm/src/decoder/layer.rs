//! `B` sequences, `T` tokens, `D` hidden.

use tch::Tensor;
use vr1_nn::{
    Context, GatedMlp, Heads, Linear, Mixture, Pass, Path, PlainLayer, Projections, Residual, RmsNorm, Rotation,
    Routing,
};

use super::{DecoderConfig, HeadNorms};

/// One decoder layer: attention and a gated MLP or a mixture of them, each behind a norm and beside the residual stream.
#[derive(Debug)]
pub(crate) struct Layer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

#[derive(Debug)]
enum Mlp {
    Dense(GatedMlp),
    Mixed(Mixture),
}

impl Layer {
    /// Layer number `index`, at `path`.
    pub(crate) fn new(path: &Path<'_>, config: &DecoderConfig, index: i64) -> Self {
        let (hidden, inner, mlp) = (config.hidden_size, config.intermediate_size, path.sub("mlp"));
        let norm = |name| RmsNorm::new(&path.sub(name), hidden, config.rms_norm_eps);
        Self {
            input_layernorm: norm("input_layernorm"),
            self_attn: Attention::new(&path.sub("self_attn"), config),
            post_attention_layernorm: norm("post_attention_layernorm"),
            mlp: match &config.mixture {
                Some(mixed) if !mixed.dense.contains(&index) => Mlp::Mixed(Mixture::new(&mlp, hidden, &mixed.of)),
                _ => Mlp::Dense(GatedMlp::new(&mlp, hidden, inner, config.mlp_bias, config.hidden_act)),
            },
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
        let (Attention { qkv, o_proj, norms: None, heads }, Mlp::Dense(mlp)) = (self_attn, mlp) else { return false };
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

    /// The second half, the MLP or what is in its place; what a router does is taken down.
    pub(crate) fn feed(&self, x: &mut Residual, routing: Option<&Routing>, index: usize) {
        let (pass, normed) = (x.pass(), self.post_attention_layernorm.of(x));
        x.add(match &self.mlp {
            Mlp::Dense(mlp) => mlp.forward(&normed, pass),
            Mlp::Mixed(mixture) => mixture.forward(&normed, pass, routing.map(|routing| (routing, index))),
        });
    }
}

#[derive(Debug)]
struct Attention {
    qkv: Projections<3>,
    o_proj: Linear,
    /// Of queries and of keys.
    norms: Option<[RmsNorm; 2]>,
    heads: Heads,
}

impl Attention {
    fn new(path: &Path<'_>, config: &DecoderConfig) -> Self {
        let (hidden, heads) = (config.hidden_size, config.heads);
        let (query, key_value) = (heads.count * heads.dim, heads.key_value * heads.dim);
        let norm = |name| RmsNorm::new(&path.sub(name), heads.dim, config.rms_norm_eps);
        let parts = [("q_proj", query), ("k_proj", key_value), ("v_proj", key_value)];
        Self {
            qkv: Projections::new(path, parts, hidden, config.qkv_bias),
            o_proj: Linear::new(&path.sub("o_proj"), query, hidden, config.output_bias),
            norms: (config.head_norms == HeadNorms::With).then(|| [norm("q_norm"), norm("k_norm")]),
            heads,
        }
    }

    fn forward(&self, x: &Tensor, pass: Pass, rotation: &Rotation, context: &mut Context<'_>, index: usize) -> Tensor {
        let joint = self.qkv.joint(x, pass);
        // What is to be normed cannot be rotated before.
        let plain = joint.as_ref().filter(|_| self.norms.is_none());
        if let Some(seen) = plain.and_then(|qkv| context.attend_joint(index, qkv, rotation, self.heads)) {
            return self.o_proj.forward(&seen, pass);
        }
        let [mut query, mut key, value] = self.qkv.apart(x, pass, joint).map(|part| self.heads.split(&part));
        if let Some([q_norm, k_norm]) = &self.norms {
            (query, key) = (q_norm.forward(&query), k_norm.forward(&key));
        }
        let (query, key) = (rotation.apply(&query), rotation.apply(&key));
        self.o_proj.forward(&context.attend(index, &query, key, value.contiguous(), self.heads), pass)
    }
}
