//! `I` pictures, `T` tiles of a picture, `P` tokens of a tile, `L` tokens of a picture with padding, `E` width, `D` the language model's
//! width.

use std::sync::Arc;

use tch::Tensor;
use vr1_nn::{Bias, Held, Init, LayerNorm, Linear, Pass, Path, Recompute, Residual};
use vr1_processor::Patches;

use super::MllamaVisionConfig;
use super::block::{Block, Gated};
use super::embeddings::{PositionEmbedding, TileEmbedding};
use super::padding::Padding;
use crate::tower::{VisionTower, embed, index, pixels};
use crate::{Features, Shown};

/// The epsilon of the norms before and behind the first encoder, whatever the config has for those inside.
const NORM_EPSILON: f64 = 1e-5;

/// The vision tower. All tiles of a picture, those that fill it up among them, are one sequence in both encoders.
#[derive(Debug)]
pub(super) struct MllamaVision {
    patch_embedding: Tensor,
    class_embedding: Tensor,
    pre_tile: TileEmbedding,
    positions: PositionEmbedding,
    layernorm_pre: LayerNorm,
    transformer: Vec<Held<Block>>,
    layernorm_post: LayerNorm,
    post_tile: TileEmbedding,
    global_transformer: Vec<Held<Block>>,
    multi_modal_projector: Linear,
    config: MllamaVisionConfig,
}

impl MllamaVision {
    pub(super) fn new(root: &Path<'_>, config: &MllamaVisionConfig) -> Self {
        let (path, width) = (root.sub("vision_model"), config.hidden_size);
        let norm = |name| LayerNorm::new(&path.sub(name), width, NORM_EPSILON);
        let blocks = |name, count, gated| {
            let layers = path.sub(name).sub("layers");
            (0..count).map(|i| Held::new(&layers.sub(i), |path| Block::new(path, config, gated))).collect()
        };
        let shape = config.patch_shape();
        let spread = (1.0 / shape[1..].iter().product::<i64>() as f64).sqrt();
        let features = width * (1 + config.taken().len() as i64);
        Self {
            patch_embedding: path.sub("patch_embedding").get("weight", &shape, Init::Normal(spread)),
            class_embedding: path.get("class_embedding", &[width], Init::Normal(0.02)),
            pre_tile: TileEmbedding::new(&path.sub("pre_tile_positional_embedding"), config),
            positions: PositionEmbedding::new(&path.sub("gated_positional_embedding"), config),
            layernorm_pre: norm("layernorm_pre"),
            transformer: blocks("transformer", config.num_hidden_layers, Gated::No),
            layernorm_post: norm("layernorm_post"),
            post_tile: TileEmbedding::new(&path.sub("post_tile_positional_embedding"), config),
            global_transformer: blocks("global_transformer", config.num_global_layers, Gated::Yes),
            multi_modal_projector: Linear::new(&root.sub("multi_modal_projector"), features, config.output, Bias::With),
            config: config.clone(),
        }
    }

    /// The embedded patches of pictures of so many tiles, filled up with tiles of nothing: `[I, T, P - 1, E]`.
    fn patches(&self, media: &[Arc<Patches>], tiles: &[i64]) -> Tensor {
        let (patches, most) = (self.config.tile_patches(), self.config.max_num_tiles);
        let counts: Vec<i64> = tiles.iter().map(|tiles| tiles * patches).collect();
        let embedded = embed(&pixels(media, &self.patch_embedding), &self.patch_embedding);
        let full = |x: &Tensor| x.constant_pad_nd([0, 0, 0, most * patches - x.size()[0]]);
        let pictures: Vec<Tensor> = embedded.split_with_sizes(&counts, 0).iter().map(full).collect();
        Tensor::stack(&pictures, 0).view([-1, most, patches, self.config.hidden_size])
    }

    /// `[I, T, P, E]` made `[I, L, E]`: the tokens of all tiles, and behind them the padding of all, which is `filler` `[I, T, 1, E]`.
    fn padded(&self, tokens: &Tensor, filler: Option<&Tensor>) -> Tensor {
        let (count, tokens) = (self.config.max_num_tiles * self.config.padding(), tokens.flatten(1, 2));
        match filler {
            None => tokens.constant_pad_nd([0, 0, 0, count]),
            Some(filler) => {
                let size = filler.size();
                let padding = filler.expand([size[0], size[1], self.config.padding(), size[3]], false);
                Tensor::cat(&[tokens, padding.flatten(1, 2)], 1)
            }
        }
    }

    /// Runs blocks over `x`, `[I, L, E]`; of the first encoder the states that are among the features, in their order.
    fn run(blocks: &[Held<Block>], x: &mut Residual, padding: &Padding, taken: &[i64], how: Recompute) -> Vec<Tensor> {
        let mut states = Vec::with_capacity(blocks.len());
        for block in blocks {
            let padding = padding.clone();
            let attend = move |block: &Block, x: &mut Residual| block.attend(x, &padding);
            block.halves(how, x, attend, Block::feed);
            states.push(x.sum().shallow_clone());
        }
        taken.iter().map(|&layer| states[layer as usize].shallow_clone()).collect()
    }
}

impl VisionTower for MllamaVision {
    fn forward(&self, media: &[Arc<Patches>], recompute: Recompute) -> Vec<Features> {
        let config = &self.config;
        // What is not laid out so does not come here: `tokens` says that it does not fit.
        let laid = media.iter().map(|patches| config.arrangement(&patches.tiles).unwrap_or((1, 1)));
        let (tiles, arrangements): (Vec<i64>, Vec<i64>) = laid.unzip();
        let (most, per_tile, width) = (config.max_num_tiles, config.tile_tokens(), config.hidden_size);
        let pictures = media.len() as i64;

        let patches = self.patches(media, &tiles);
        let arrangements = index(&arrangements, patches.device());
        let patches = patches + self.pre_tile.forward(&arrangements);
        let class = self.class_embedding.expand([pictures, most, 1, width], false);
        let tokens = Tensor::cat(&[class, patches], 2) + self.positions.forward(&arrangements); // [I, T, P, E]
        let tokens = self.padded(&self.layernorm_pre.forward(&tokens), None); // [I, L, E]

        let own: Vec<i64> = tiles.iter().map(|tiles| tiles * per_tile).collect();
        let padding = Padding::behind(&own);
        let mut x = Residual::new(&tokens, Pass::Scoring);
        let states = Self::run(&self.transformer, &mut x, &padding, config.taken(), recompute);

        let tile = self.post_tile.forward(&arrangements); // [I, T, 1, E]
        let places = tile.expand([pictures, most, per_tile, width], false);
        let tokens = self.layernorm_post.of(&mut x) + self.padded(&places, Some(&tile));
        let mut x = Residual::new(&tokens, Pass::Scoring);
        Self::run(&self.global_transformer, &mut x, &padding, &[], recompute);

        // Of each number the states one behind the other, as they were stacked on a last axis.
        let unpadded = |x: &Tensor| x.narrow(1, 0, most * per_tile);
        let states: Vec<Tensor> = states.iter().map(unpadded).collect();
        let mut features = vec![unpadded(x.sum())];
        if !states.is_empty() {
            features.push(Tensor::stack(&states, -1).flatten(2, 3));
        }
        let features = self.multi_modal_projector.forward(&Tensor::cat(&features, -1), Pass::Scoring); // [I, T·P, D]
        let shown =
            |(states, count)| Features { tokens: None, deep: Vec::new(), across: Some(Shown { states, count }) };
        features.unbind(0).into_iter().zip(own).map(shown).collect()
    }
}
