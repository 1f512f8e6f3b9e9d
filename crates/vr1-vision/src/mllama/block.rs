//! `I` pictures, `L` tokens of a picture, `E` width.

use tch::Tensor;
use vr1_nn::{Activation, Bias, Heads, Init, LayerNorm, Linear, Pass, Path, Residual};

use super::MllamaVisionConfig;
use super::padding::Padding;

/// Whether what a block adds goes through gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gated {
    Yes,
    No,
}

/// One block of either encoder: attention among a picture's tokens, then an MLP.
#[derive(Debug)]
pub(super) struct Block {
    input_layernorm: LayerNorm,
    qkv: [Linear; 3],
    o_proj: Linear,
    post_attention_layernorm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    hidden_act: Activation,
    heads: Heads,
    /// Of attention and of the MLP, `[1]` each.
    gates: Option<[Tensor; 2]>,
}

impl Block {
    pub(super) fn new(path: &Path<'_>, config: &MllamaVisionConfig, gated: Gated) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let norm = |name| LayerNorm::new(&path.sub(name), width, config.norm_eps);
        let linear = |name, inputs, outputs, bias| Linear::new(&path.sub(name), inputs, outputs, bias);
        let of_attention = |name| linear(name, width, width, Bias::Without);
        let gate = |name| path.get(name, &[1], Init::Normal(0.02));
        Self {
            input_layernorm: norm("input_layernorm"),
            qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"].map(of_attention),
            o_proj: of_attention("self_attn.o_proj"),
            post_attention_layernorm: norm("post_attention_layernorm"),
            fc1: linear("mlp.fc1", width, inner, Bias::With),
            fc2: linear("mlp.fc2", inner, width, Bias::With),
            hidden_act: config.hidden_act,
            heads: config.heads(),
            gates: (gated == Gated::Yes).then(|| ["gate_attn", "gate_ffn"].map(gate)),
        }
    }

    /// The first half, attention, added to the residual stream `x`, `[I, L, E]`.
    pub(super) fn attend(&self, x: &mut Residual, padding: &Padding) {
        let normed = self.input_layernorm.of(x);
        let [query, key, value] =
            self.qkv.each_ref().map(|layer| self.heads.split(&layer.forward(&normed, Pass::Scoring)));
        let seen = padding.attention([&query, &key, &value], self.heads);
        x.add(self.gated(0, self.o_proj.forward(&seen, Pass::Scoring)));
    }

    /// The second half, the MLP.
    pub(super) fn feed(&self, x: &mut Residual) {
        let normed = self.post_attention_layernorm.of(x);
        let inner = self.hidden_act.forward(&self.fc1.forward(&normed, Pass::Scoring));
        x.add(self.gated(1, self.fc2.forward(&inner, Pass::Scoring)));
    }

    fn gated(&self, half: usize, y: Tensor) -> Tensor {
        match &self.gates {
            Some(gates) => y * gates[half].tanh(),
            None => y,
        }
    }
}
