//! `N` patches of all images, `M` tokens they merge into, `E` width, `D` the language model's width.

use std::sync::Arc;

use tch::{Kind, Tensor};
use vr1_nn::{Embedding, Held, Init, Pass, Path, Recompute, Residual, Segments};
use vr1_processor::Patches;

use super::Qwen3VlVisionConfig;
use super::block::Block;
use super::merger::{Merger, Normed};
use super::positions::stretched;
use crate::Features;
use crate::tower::{VisionTower, apart, frames, grids, index, pixels, places, rotation};

/// The vision tower; patches attend to those of their own frame.
#[derive(Debug)]
pub(super) struct Qwen3VlVision {
    patch_embed: Tensor,
    patch_bias: Tensor,
    pos_embed: Embedding,
    blocks: Vec<Held<Block>>,
    merger: Merger,
    /// One for each of `deepstack_visual_indexes`.
    deepstack_merger_list: Vec<Merger>,
    config: Qwen3VlVisionConfig,
}

impl Qwen3VlVision {
    pub(super) fn new(path: &Path<'_>, config: &Qwen3VlVisionConfig) -> Self {
        let (width, blocks, deep) = (config.hidden_size, path.sub("blocks"), path.sub("deepstack_merger_list"));
        let deep =
            (0..config.deepstack_visual_indexes.len()).map(|i| Merger::new(&deep.sub(i), config, Normed::Tokens));
        Self {
            patch_embed: config.squares().embedding(path, width),
            patch_bias: path.sub("patch_embed.proj").get("bias", &[width], Init::Zeros),
            pos_embed: Embedding::new(&path.sub("pos_embed"), config.num_position_embeddings, width),
            blocks: (0..config.depth).map(|i| Held::new(&blocks.sub(i), |path| Block::new(path, config))).collect(),
            merger: Merger::new(&path.sub("merger"), config, Normed::Patches),
            deepstack_merger_list: deep.collect(),
            config: config.clone(),
        }
    }

    /// The learned positions of patches at these rows and columns, `[N, E]`, summed in f32.
    fn positions(&self, grid_thw: &[[i64; 3]], rows: &[i64], columns: &[i64], like: &Tensor) -> Tensor {
        let (places, weights) = stretched(grid_thw, rows, columns, self.config.side());
        let learned = self.pos_embed.forward(&index(&places, like.device()).view([-1, 4])); // [N, 4, E]
        let weights = Tensor::from_slice(&weights).to_device(like.device()).view([-1, 4, 1]);
        (learned * weights).sum_dim_intlist(1, false, None::<Kind>).to_kind(like.kind())
    }

    /// The merger that takes what leaves block number `block`.
    fn behind(&self, block: usize) -> Option<&Merger> {
        let place = self.config.deepstack_visual_indexes.iter().position(|&at| at == block as i64)?;
        self.deepstack_merger_list.get(place)
    }
}

impl VisionTower for Qwen3VlVision {
    fn forward(&self, media: &[Arc<Patches>], recompute: Recompute) -> Vec<Features> {
        let (pixel_values, grid_thw) = (&pixels(media, &self.patch_embed), &grids(media));
        let merge = self.config.squares().merge;
        let (rows, columns) = places(grid_thw, merge);
        let rotation = rotation(&rows, &columns, self.config.heads().dim, pixel_values.device());
        let frames = Segments::new(frames(grid_thw));
        let patches = pixel_values.linear(&self.patch_embed.flatten(1, -1), Some(&self.patch_bias)); // [N, E]
        let positions = self.positions(grid_thw, &rows, &columns, &patches);
        let mut x = Residual::new(&(patches + positions), Pass::Scoring);
        let mut deep = Vec::with_capacity(self.deepstack_merger_list.len());
        for (number, block) in self.blocks.iter().enumerate() {
            let (rotation, frames) = (rotation.shallow_clone(), frames.clone());
            let attend = move |block: &Block, x: &mut Residual| block.attend(x, &rotation, &frames);
            block.halves(recompute, &mut x, attend, Block::feed);
            if let Some(merger) = self.behind(number) {
                deep.push(apart(&merger.forward(x.sum()), grid_thw, merge));
            }
        }
        let mut features = apart(&self.merger.forward(x.sum()), grid_thw, merge);
        for depth in deep {
            for (of_media, deeper) in features.iter_mut().zip(depth) {
                of_media.deep.extend(deeper.tokens);
            }
        }
        features
    }
}
