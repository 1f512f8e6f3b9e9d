//! `N` patches of all images, `M` tokens they merge into, `E` width, `D` the language model's width.

use std::sync::Arc;

use tch::Tensor;
use vr1_nn::{Held, Pass, Path, Recompute, Residual, RmsNorm, Segments};
use vr1_processor::Patches;

use super::Qwen25VlVisionConfig;
use super::block::{Block, NORM_EPSILON};
use super::windows::by_window;
use crate::Features;
use crate::tower::{PatchMerger, VisionTower, apart, embed, frames, grids, index, pixels, places, rotation};

/// The vision tower. Patches are put in the order of their windows and attend to those of their own window, in the blocks
/// of `fullatt_block_indexes` to those of their own frame; the merged tokens are put back.
#[derive(Debug)]
pub(super) struct Qwen25VlVision {
    patch_embed: Tensor,
    blocks: Vec<Held<Block>>,
    ln_q: RmsNorm,
    merger: PatchMerger,
    config: Qwen25VlVisionConfig,
}

impl Qwen25VlVision {
    pub(super) fn new(path: &Path<'_>, config: &Qwen25VlVisionConfig) -> Self {
        let (width, cut, blocks) = (config.hidden_size, config.squares(), path.sub("blocks"));
        Self {
            patch_embed: cut.embedding(path, width),
            blocks: (0..config.depth).map(|i| Held::new(&blocks.sub(i), |path| Block::new(path, config))).collect(),
            ln_q: RmsNorm::new(&path.sub("merger.ln_q"), width, NORM_EPSILON),
            merger: PatchMerger::new(&path.sub("merger"), width, cut, config.out_hidden_size),
            config: config.clone(),
        }
    }
}

impl VisionTower for Qwen25VlVision {
    fn forward(&self, media: &[Arc<Patches>], recompute: Recompute) -> Vec<Features> {
        let (pixel_values, grid_thw) = (&pixels(media, &self.patch_embed), &grids(media));
        let (device, merge) = (pixel_values.device(), self.config.squares().merge);
        let squares: Vec<(i64, i64)> =
            grid_thw.iter().flat_map(|&[t, h, w]| (0..t).map(move |_| (h / merge, w / merge))).collect();
        let (order, sizes) = by_window(&squares, self.config.window()); // [M]
        let unit = merge * merge;
        let patches: Vec<i64> = order.iter().flat_map(|square| (0..unit).map(move |i| square * unit + i)).collect(); // [N]

        let (rows, columns) = places(grid_thw, merge);
        let [rows, columns] =
            [rows, columns].map(|list| patches.iter().map(|&patch| list[patch as usize]).collect::<Vec<_>>());
        let rotation = rotation(&rows, &columns, self.config.heads().dim, device);
        let windows = Segments::new(sizes.iter().map(|size| size * unit));
        let frames = Segments::new(frames(grid_thw));

        let embedded = embed(pixel_values, &self.patch_embed).index_select(0, &index(&patches, device)); // [N, E]
        let mut x = Residual::new(&embedded, Pass::Scoring);
        for (number, block) in self.blocks.iter().enumerate() {
            let whole = self.config.fullatt_block_indexes.contains(&(number as i64));
            let (rotation, segments) = (rotation.shallow_clone(), if whole { frames.clone() } else { windows.clone() });
            let attend = move |block: &Block, x: &mut Residual| block.attend(x, &rotation, &segments);
            block.halves(recompute, &mut x, attend, Block::feed);
        }
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, &square)| back[square as usize] = place as i64);
        let tokens = self.merger.forward(&self.ln_q.of(&mut x)).index_select(0, &index(&back, device)); // [M, D]
        apart(&tokens, grid_thw, merge)
    }
}
