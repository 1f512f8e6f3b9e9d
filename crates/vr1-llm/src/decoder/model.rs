//! `B` sequences, `T` tokens, `D` hidden, `V` vocabulary.

use tch::{Device, Tensor};
use vr1_nn::{
    Across, Context, Embedding, Held, Init, MultimodalRotary, Pass, Path, Recompute, Residual, Result, RmsNorm,
    Rotation, linear,
};

use super::across::AcrossLayer;
use super::layer::Layer;
use super::{DecoderConfig, Deep};

/// A decoder with its embedding and output matrix.
#[derive(Debug)]
pub struct Decoder {
    embed_tokens: Embedding,
    layers: Vec<AnyLayer>,
    norm: RmsNorm,
    lm_head: Tensor,
    rotary: MultimodalRotary,
}

/// A layer, with its number among those of its kind.
#[derive(Debug)]
enum AnyLayer {
    /// It attends to the text.
    Text(Held<Layer>, usize),
    /// It attends across.
    Across(Held<AcrossLayer>, usize),
}

impl Decoder {
    /// A decoder whose parameters are at `root` by their published names, `model.…` and `lm_head.weight`.
    ///
    /// # Errors
    /// If the rotary sections do not fill the heads.
    pub fn new(root: &Path<'_>, config: &DecoderConfig, device: Device) -> Result<Self> {
        let (path, hidden) = (root.sub("model"), config.hidden_size);
        let rotary = MultimodalRotary::new(config.heads.dim, &config.rope, device)?;
        let embed_tokens = Embedding::new(&path.sub("embed_tokens"), config.ids(), hidden);
        let (places, mut counts) = (path.sub("layers"), [0; 2]);
        let mut next = |kind: usize| {
            counts[kind] += 1;
            counts[kind] - 1
        };
        let layer = |i| match config.cross_attention_layers.contains(&i) {
            false => AnyLayer::Text(Held::new(&places.sub(i), |path| Layer::new(path, config, i)), next(0)),
            true => AnyLayer::Across(Held::new(&places.sub(i), |path| AcrossLayer::new(path, config)), next(1)),
        };
        let layers = (0..config.num_hidden_layers).map(layer).collect();
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

    /// Embeddings `[B, T, D]` at `position_ids` `[3, B, T]` to normed hidden states `[B, T, D]`; `deep` is added on the way, where
    /// `B` is 1.
    pub fn forward(&self, embeds: &Tensor, position_ids: &Tensor, deep: &Deep, context: &mut Context<'_>) -> Tensor {
        let rotation = self.rotary.rotation(position_ids, embeds.kind());
        let pass = if context.recompute().is_some() { Pass::Scoring } else { Pass::Sampling };
        let mut x = Residual::new(embeds, pass);
        let shown = context.shown(embeds.size()[1]);
        let places = (!deep.is_empty()).then(|| Tensor::from_slice(&deep.places).to_device(embeds.device()));
        for (number, layer) in self.layers.iter().enumerate() {
            match layer {
                AnyLayer::Text(layer, index) => Self::read(layer, *index, &mut x, &rotation, context),
                AnyLayer::Across(layer, index) if context.is_shown() => {
                    Self::look(layer, *index, &mut x, shown.as_ref(), context);
                }
                // Nobody is shown anything.
                AnyLayer::Across(..) => {}
            }
            if let (Some(places), Some(added)) = (&places, deep.added.get(number)) {
                x.add_at(places, added);
            }
        }
        if let Some(routing) = context.routing() {
            routing.settle();
        }
        self.norm.of(&mut x)
    }

    /// Runs a layer that attends to the text.
    fn read(layer: &Held<Layer>, index: usize, x: &mut Residual, rotation: &Rotation, context: &mut Context<'_>) {
        match context.recompute() {
            Some((groups, recompute)) => {
                let (rotation, groups) = (rotation.shallow_clone(), groups.clone());
                let attend = move |layer: &Layer, x: &mut Residual| {
                    layer.attend(x, &rotation, &mut Context::groups(&groups, Recompute::None), index);
                };
                let routing = context.routing().cloned();
                let feed = move |layer: &Layer, x: &mut Residual| layer.feed(x, routing.as_ref(), index);
                layer.halves(recompute, x, attend, feed);
            }
            None => layer.with(|layer| {
                if !layer.decode(x, rotation, context, index) {
                    layer.attend(x, rotation, context, index);
                    layer.feed(x, context.routing(), index);
                }
            }),
        }
    }

    /// Runs a layer that attends across; what is shown to some tokens only feeds these.
    fn look(
        layer: &Held<AcrossLayer>,
        index: usize,
        x: &mut Residual,
        shown: Option<&Tensor>,
        context: &mut Context<'_>,
    ) {
        match (context.recompute(), context.across()) {
            (Some((groups, recompute)), Some(across)) => {
                let (groups, sights) = (groups.clone(), across.sights());
                let attend = move |layer: &AcrossLayer, x: &mut Residual, states: &[Tensor]| {
                    let across = Across::of(&states[0], &sights);
                    layer.attend(x, &mut Context::groups(&groups, Recompute::None).beside(Some(&across)), index);
                };
                let shown = shown.map(Tensor::shallow_clone);
                let feed = move |layer: &AcrossLayer, x: &mut Residual| layer.feed(x, shown.as_ref());
                layer.halves_beside(recompute, x, &[across.states()], attend, feed);
            }
            _ => layer.with(|layer| {
                layer.attend(x, context, index);
                layer.feed(x, shown);
            }),
        }
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
