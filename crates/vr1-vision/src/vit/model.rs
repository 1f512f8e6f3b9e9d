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
            layers: (0..used).map(|i| Held::new(&layers.sub(i), |path| Block::new(path, config))).collect(),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ndarray::{Array2, Axis, concatenate};
    use serde_json::{Map, json};
    use tch::{Device, Kind, Tensor};
    use vr1_nn::{Loader, Names, Recompute};
    use vr1_processor::{Patches, Tiles};

    use super::Vit;
    use crate::vit::{Form, Reads, VitConfig};

    fn tower(reads: Reads) -> Option<Vit> {
        let keys = json!({ "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 28, "patch_size": 7 });
        let config = VitConfig::read(keys.as_object().unwrap_or(&Map::new()), Form::Idefics3).ok()?;
        let loader = Loader::random(5, Names::LANGUAGE, Device::Cpu, Kind::Float);
        Some(Vit::new(&loader.root(), &config, reads))
    }

    /// A tile of 4 × 4 patches that show something in the corner of `rows × columns`, and these alone.
    fn corner(seed: usize, [rows, columns]: [usize; 2]) -> [Patches; 2] {
        let level = |patch: usize, value: usize| (((patch * 147 + value) * (seed + 3) % 101) as f32 - 50.0) / 40.0;
        let whole = Array2::from_shape_fn((16, 147), |(patch, value)| {
            if patch / 4 < rows && patch % 4 < columns { level(patch, value) } else { -1.0 }
        });
        let shown: Vec<usize> = (0..rows).flat_map(|row| (0..columns).map(move |column| row * 4 + column)).collect();
        let alone = whole.select(Axis(0), &shown);
        [
            Patches { pixel_values: whole, grid_thw: [1, 4, 4], tiles: Tiles::Corners(vec![[rows, columns]]) },
            Patches { pixel_values: alone, grid_thw: [1, rows, columns], tiles: Tiles::Whole },
        ]
    }

    fn states(tower: &Vit, media: &[&Patches]) -> Tensor {
        tower.forward(&media.iter().map(|patches| Arc::new((*patches).clone())).collect::<Vec<_>>(), Recompute::None)
    }

    #[test]
    fn of_a_tile_that_is_not_filled_nothing_is_seen_but_what_is_shown() {
        let tower = tower(Reads::Normed).expect("a possible config");
        let ([first, alone], [second, other]) = (corner(1, [2, 3]), corner(2, [4, 1]));
        let found = states(&tower, &[&first, &second]);
        let expected = Tensor::cat(&[states(&tower, &[&alone]), states(&tower, &[&other])], 0);
        assert_eq!(found.size(), [10, 16]);
        assert!(found.allclose(&expected, 1e-5, 1e-5, false));
        // The same as two tiles of one picture.
        let pixel_values = concatenate![Axis(0), first.pixel_values, second.pixel_values];
        let tiles = Tiles::Corners(vec![[2, 3], [4, 1]]);
        let both = Patches { pixel_values, grid_thw: [2, 4, 4], tiles };
        assert!(states(&tower, &[&both]).allclose(&found, 1e-5, 1e-5, false));
    }

    #[test]
    fn states_behind_blocks_lie_side_by_side_in_the_order_they_are_named_in() {
        let [_, tile] = corner(1, [4, 4]);
        let read =
            |blocks: &[i64]| states(&tower(Reads::Behind(blocks.to_vec())).expect("a possible config"), &[&tile]);
        let several = read(&[2, 0, 1]);
        assert_eq!(several.size(), [16, 48]);
        for (place, block) in [(0, 2), (16, 0), (32, 1)] {
            assert!(several.narrow(1, place, 16).allclose(&read(&[block]), 1e-6, 1e-6, false), "{block}");
        }
        assert!(!read(&[1]).allclose(&read(&[2]), 1e-2, 1e-2, false));
    }
}
