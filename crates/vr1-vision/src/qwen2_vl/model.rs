//! `N` patches of all images, `M` tokens they merge into, `E` width, `D` the language model's width.

use std::sync::Arc;

use tch::Tensor;
use vr1_nn::{Held, LayerNorm, Pass, Path, Recompute, Residual, Segments};
use vr1_processor::Patches;

use super::Qwen2VlVisionConfig;
use super::block::{Block, NORM_EPSILON};
use crate::Features;
use crate::tower::{PatchMerger, VisionTower, apart, embed, frames, grids, pixels, places, rotation};

/// The vision tower; patches attend to those of their own frame.
#[derive(Debug)]
pub(super) struct Qwen2VlVision {
    patch_embed: Tensor,
    blocks: Vec<Held<Block>>,
    ln_q: LayerNorm,
    merger: PatchMerger,
    config: Qwen2VlVisionConfig,
}

impl Qwen2VlVision {
    pub(super) fn new(path: &Path<'_>, config: &Qwen2VlVisionConfig) -> Self {
        let (width, cut, blocks) = (config.embed_dim, config.squares(), path.sub("blocks"));
        Self {
            patch_embed: cut.embedding(path, width),
            blocks: (0..config.depth).map(|i| Held::new(&blocks.sub(i), |path| Block::new(path, config))).collect(),
            ln_q: LayerNorm::new(&path.sub("merger.ln_q"), width, NORM_EPSILON),
            merger: PatchMerger::new(&path.sub("merger"), width, cut, config.hidden_size),
            config: config.clone(),
        }
    }
}

impl VisionTower for Qwen2VlVision {
    fn forward(&self, media: &[Arc<Patches>], recompute: Recompute) -> Vec<Features> {
        let (pixel_values, grid_thw) = (&pixels(media, &self.patch_embed), &grids(media));
        let merge = self.config.squares().merge;
        let (rows, columns) = places(grid_thw, merge);
        let rotation = rotation(&rows, &columns, self.config.heads().dim, pixel_values.device());
        let frames = Segments::new(frames(grid_thw));
        let mut x = Residual::new(&embed(pixel_values, &self.patch_embed), Pass::Scoring); // [N, E]
        for block in &self.blocks {
            let (rotation, frames) = (rotation.shallow_clone(), frames.clone());
            let attend = move |block: &Block, x: &mut Residual| block.attend(x, &rotation, &frames);
            block.halves(recompute, &mut x, attend, Block::feed);
        }
        apart(&self.merger.forward(&self.ln_q.of(&mut x)), grid_thw, merge)
    }
}
