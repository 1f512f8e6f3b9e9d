//! `L` tokens of a tile, `R × C` tiles on a canvas, `n` patches along a tile's side, `E` width, `K` states that are read, `D` the
//! language model's width.

use std::sync::Arc;

use tch::Tensor;
use vr1_nn::{Init, Linear, Pass, Path, Recompute};
use vr1_processor::{Patches, Tiles};

use super::LlavaVisionConfig;
use crate::Features;
use crate::tower::VisionTower;
use crate::vit::Vit;

/// The tower, an MLP behind it, and what stands at the end of a canvas's lines.
#[derive(Debug)]
pub(super) struct LlavaVision {
    vision_tower: Vit,
    linear_1: Linear,
    linear_2: Linear,
    image_newline: Option<Tensor>,
    config: LlavaVisionConfig,
}

impl LlavaVision {
    pub(super) fn new(root: &Path<'_>, config: &LlavaVisionConfig) -> Self {
        let (output, projector) = (config.hidden_size, root.sub("multi_modal_projector"));
        let states = config.tower.hidden_size * config.blocks.len() as i64;
        let drawn = Init::Normal((1.0 / output as f64).sqrt());
        Self {
            vision_tower: Vit::new(&root.sub("vision_tower"), &config.tower, config.reads()),
            linear_1: Linear::new(&projector.sub("linear_1"), states, output, config.bias),
            linear_2: Linear::new(&projector.sub("linear_2"), output, output, config.bias),
            image_newline: config.newline().then(|| root.get("image_newline", &[output], drawn)),
            config: config.clone(),
        }
    }

    /// What stands for a picture, of the tokens of its tiles `[tiles, L, D]`.
    fn packed(&self, tiles: &Tensor, arrangement: &Tiles) -> Tensor {
        let (Some(newline), Tiles::Overview { rows, columns, kept }) = (&self.image_newline, arrangement) else {
            return tiles.flatten(0, 1);
        };
        let (side, width) = (self.config.tower.side(), self.config.hidden_size);
        let [rows, columns] = [*rows, *columns].map(|tiles| tiles as i64);
        let [high, wide] = kept.map(|lines| lines as i64);
        let canvas = tiles.narrow(0, 1, rows * columns).view([rows, columns, side, side, width]);
        let canvas = canvas.permute([0, 2, 1, 3, 4]).reshape([rows * side, columns * side, width]);
        let (top, left) = ((rows * side - high) / 2, (columns * side - wide) / 2);
        let shown = canvas.narrow(0, top, high).narrow(1, left, wide);
        let lines = Tensor::cat(&[shown, newline.expand([high, 1, width], false)], 1);
        Tensor::cat(&[tiles.get(0), lines.flatten(0, 1)], 0)
    }
}

impl VisionTower for LlavaVision {
    fn forward(&self, media: &[Arc<Patches>], recompute: Recompute) -> Vec<Features> {
        let states = self.vision_tower.forward(media, recompute); // [tiles·L', K·E]
        let counts: Vec<i64> = media.iter().map(|patches| patches.grid_thw[0] as i64).collect();
        let tiles = states.view([counts.iter().sum(), -1, states.size()[1]]);
        let read = tiles.narrow(1, self.config.dropped, tiles.size()[1] - self.config.dropped); // [tiles, L, K·E]
        let inner = self.config.hidden_act.forward(&self.linear_1.forward(&read, Pass::Scoring));
        let tokens = self.linear_2.forward(&inner, Pass::Scoring).split_with_sizes(&counts, 0);
        let packed = tokens.iter().zip(media).map(|(tiles, patches)| self.packed(tiles, &patches.tiles));
        packed.map(Features::tokens).collect()
    }
}
