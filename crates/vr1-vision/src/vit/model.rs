//! `N` patches of all tiles, `T` tokens of them, `E` width, `K` states that are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use tch::Tensor;
use vr1_nn::{Bias, Held, Init, LayerNorm, Linear, Pass, Path, Recompute, Residual, Segments};
use vr1_processor::{Patches, Tiles};

use super::block::{Block, Mlp};
use super::config::tiles;
use super::positions::Places;
use super::{Form, Reads, VitConfig};
use crate::tower::{index, pixels};

/// The transformer, up to the last block of which something is read. Patches of a tile attend to each other; of a tile that is
/// not filled, those that show something are there alone.
#[derive(Debug)]
pub(crate) struct Vit {
    patch_embedding: (Tensor, Option<Tensor>),
    class_embedding: Option<Tensor>,
    position_embedding: Tensor,
    pre_layrnorm: Option<LayerNorm>,
    layers: Vec<Held<Block>>,
    read: Read,
    config: VitConfig,
}

/// What is read, with what that takes.
#[derive(Debug)]
enum Read {
    Normed(LayerNorm),
    Behind(Vec<i64>),
}

impl Vit {
    /// A transformer whose parameters are at `path`; those that nothing is read behind are idle.
    pub(crate) fn new(path: &Path<'_>, config: &VitConfig, reads: Reads) -> Self {
        let (width, depth, clip) = (config.hidden_size, config.num_hidden_layers, config.form == Form::Clip);
        let norm = |path: &Path<'_>, name| LayerNorm::new(&path.sub(name), width, config.layer_norm_eps);
        let embeddings = path.sub("embeddings");
        let patches = embeddings.sub("patch_embedding");
        let drawn = Init::Normal((1.0 / config.values() as f64).sqrt());
        let kernel = patches.get("weight", &config.kernel(), drawn);
        let places = config.side() * config.side() + config.before();
        let (layers, idle) = (path.sub("encoder.layers"), path.idle());
        let (used, read) = match reads {
            Reads::Normed => (depth, Read::Normed(norm(path, "post_layernorm"))),
            Reads::Behind(blocks) => {
                norm(&idle, "post_layernorm");
                (blocks.iter().copied().max().unwrap_or(0), Read::Behind(blocks))
            }
        };
        for unread in used..depth {
            Block::new(&idle.sub("encoder.layers").sub(unread), config);
        }
        if config.head() {
            head(&idle.sub("head"), config);
        }
        Self {
            patch_embedding: (kernel, (!clip).then(|| patches.get("bias", &[width], Init::Zeros))),
            class_embedding: clip.then(|| embeddings.get("class_embedding", &[width], Init::Normal(0.02))),
            position_embedding: embeddings.sub("position_embedding").get(
                "weight",
                &[places, width],
                Init::Normal(0.02),
            ),
            pre_layrnorm: clip.then(|| norm(path, "pre_layrnorm")),
            layers: (0..used).map(|i| Held::new(Block::new(&layers.sub(i), config))).collect(),
            read,
            config: config.clone(),
        }
    }

    /// The states of all tiles of all media that are read, `[T, K·E]`. A tile has a token for each patch that shows something, and
    /// as many [before](VitConfig::before) these as there are. Blocks keep for the backward pass what `recompute` says.
    pub(crate) fn forward(&self, media: &[Arc<Patches>], recompute: Recompute) -> Tensor {
        let sides: Vec<[i64; 2]> = media.iter().flat_map(|patches| tiles(patches)).collect();
        let segments = Segments::new(sides.iter().map(|[rows, columns]| rows * columns + self.config.before()));
        let embedded = self.embed(&shown(media, &self.patch_embedding.0), &sides);
        let mut x = Residual::new(&embedded, Pass::Scoring); // [T, E]
        let wanted = |number: i64| matches!(&self.read, Read::Behind(blocks) if blocks.contains(&number));
        let mut behind = BTreeMap::new();
        for (number, block) in (0..).zip(&self.layers) {
            if wanted(number) {
                behind.insert(number, x.sum().shallow_clone());
            }
            let segments = segments.clone();
            let attend = move |block: &Block, x: &mut Residual| block.attend(x, &segments);
            block.halves(recompute, &mut x, attend, Block::feed);
        }
        match &self.read {
            Read::Normed(norm) => norm.of(&mut x),
            Read::Behind(blocks) => {
                behind.insert(self.layers.len() as i64, x.into_sum());
                Tensor::cat(&blocks.iter().filter_map(|block| behind.get(block)).collect::<Vec<_>>(), -1)
            }
        }
    }

    /// Patches `[N, values]` of tiles of these sides to tokens `[T, E]`.
    fn embed(&self, pixel_values: &Tensor, sides: &[[i64; 2]]) -> Tensor {
        let (kernel, bias) = &self.patch_embedding;
        let patches = pixel_values.linear(&kernel.flatten(1, -1), bias.as_ref()); // [N, E]
        let positions = &self.position_embedding;
        let Some(class) = &self.class_embedding else {
            let mut places = Places::new(self.config.side());
            let places: Vec<i64> = sides.iter().flat_map(|&sides| places.of(sides)).collect();
            return patches + positions.index_select(0, &index(&places, positions.device()));
        };
        // Tiles are all of one size, for which there are positions.
        let (tiles, width) = (sides.len() as i64, self.config.hidden_size);
        let class = class.expand([tiles, 1, width], false);
        let tokens = Tensor::cat(&[class, patches.view([tiles, -1, width])], 1) + positions;
        let tokens = tokens.flatten(0, 1);
        self.pre_layrnorm.as_ref().map_or_else(|| tokens.shallow_clone(), |norm| norm.forward(&tokens))
    }
}

/// The patches of all media that show something, as a tower's `weight` is: `[N, values]`.
fn shown(media: &[Arc<Patches>], weight: &Tensor) -> Tensor {
    let all = pixels(media, weight);
    if media.iter().all(|patches| !matches!(patches.tiles, Tiles::Corners(_))) {
        return all;
    }
    let (mut kept, mut start) = (Vec::new(), 0);
    for patches in media {
        let [_, rows, columns] = patches.grid_thw.map(|n| n as i64);
        for [high, wide] in tiles(patches) {
            kept.extend((0..high).flat_map(|row| (0..wide).map(move |column| start + row * columns + column)));
            start += rows * columns;
        }
    }
    all.index_select(0, &index(&kept, all.device()))
}

/// What SigLIP makes one vector of a picture with.
fn head(path: &Path<'_>, config: &VitConfig) {
    let width = config.hidden_size;
    let _ = path.get("probe", &[1, 1, width], Init::Normal(0.02));
    let attention = path.sub("attention");
    let _ = attention.get("in_proj_weight", &[3 * width, width], Init::Normal((1.0 / width as f64).sqrt()));
    let _ = attention.get("in_proj_bias", &[3 * width], Init::Zeros);
    Linear::new(&attention.sub("out_proj"), width, width, Bias::With);
    LayerNorm::new(&path.sub("layernorm"), width, config.layer_norm_eps);
    Mlp::new(&path.sub("mlp"), config);
}
