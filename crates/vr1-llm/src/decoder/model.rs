//! `B` sequences, `T` tokens, `D` hidden, `V` vocabulary.

use tch::{Device, Tensor};
use vr1_nn::{
    Context, Embedding, Held, Init, MultimodalRotary, Pass, Path, Recompute, Residual, Result, RmsNorm, linear,
};

use super::DecoderConfig;
use super::layer::Layer;

/// A decoder with its embedding and output matrix.
#[derive(Debug)]
pub struct Decoder {
    embed_tokens: Embedding,
    layers: Vec<Held<Layer>>,
    norm: RmsNorm,
    lm_head: Tensor,
    rotary: MultimodalRotary,
}

impl Decoder {
    /// A decoder whose parameters are at `root` by their published names, `model.…` and `lm_head.weight`.
    ///
    /// # Errors
    /// If the rotary sections do not fill the heads.
    pub fn new(root: &Path<'_>, config: &DecoderConfig, device: Device) -> Result<Self> {
        let (path, hidden) = (root.sub("model"), config.hidden_size);
        let rotary = MultimodalRotary::new(config.heads.dim, &config.rope, device)?;
        let embed_tokens = Embedding::new(&path.sub("embed_tokens"), config.vocab_size, hidden);
        let layers = path.sub("layers");
        let layers = (0..config.num_hidden_layers).map(|i| Held::new(Layer::new(&layers.sub(i), config))).collect();
        let lm_head = if config.tie_word_embeddings {
            root.sub("lm_head").tie("weight", "model.embed_tokens.weight");
            embed_tokens.weight().shallow_clone()
        } else {
            root.sub("lm_head").get("weight", &[config.vocab_size, hidden], Init::Normal(0.02))
        };
        let norm = RmsNorm::new(&path.sub("norm"), hidden, config.rms_norm_eps);
        Ok(Self { embed_tokens, layers, norm, lm_head, rotary })
    }

    /// Ids `[B, T]` to embeddings `[B, T, D]`.
    pub fn embed(&self, input_ids: &Tensor) -> Tensor {
        self.embed_tokens.forward(input_ids)
    }

    /// Embeddings `[B, T, D]` at `position_ids` `[3, B, T]` to normed hidden states `[B, T, D]`.
    pub fn forward(&self, embeds: &Tensor, position_ids: &Tensor, context: &mut Context<'_>) -> Tensor {
        let rotation = self.rotary.rotation(position_ids, embeds.kind());
        let pass = if context.recompute().is_some() { Pass::Scoring } else { Pass::Sampling };
        let mut x = Residual::new(embeds, pass);
        for (index, layer) in self.layers.iter().enumerate() {
            match context.recompute() {
                Some((groups, recompute)) => {
                    let (rotation, groups) = (rotation.shallow_clone(), groups.clone());
                    let attend = move |layer: &Layer, x: &mut Residual| {
                        layer.attend(x, &rotation, &mut Context::groups(&groups, Recompute::None), index);
                    };
                    layer.halves(recompute, &mut x, attend, Layer::feed);
                }
                None => layer.with(|layer| {
                    if !layer.decode(&mut x, &rotation, context, index) {
                        layer.attend(&mut x, &rotation, context, index);
                        layer.feed(&mut x);
                    }
                }),
            }
        }
        self.norm.of(&mut x)
    }

    /// Hidden states `[…, D]` to logits `[…, V]`.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        linear(hidden, &self.lm_head, None)
    }

    /// The output matrix, `[V, D]`.
    pub fn lm_head(&self) -> &Tensor {
        &self.lm_head
    }
}
