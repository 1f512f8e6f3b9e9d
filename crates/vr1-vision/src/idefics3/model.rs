//! `N` patches of all tiles, `n` of them along a tile's side, `s` along the side of a square, `M` squares, `E` width, `D` the language
//! model's width.

use std::sync::Arc;

use tch::Tensor;
use vr1_nn::{Bias, Linear, Pass, Path, Recompute};
use vr1_processor::Patches;

use super::Idefics3VisionConfig;
use crate::Features;
use crate::tower::VisionTower;
use crate::vit::{Reads, Vit};

/// The tower, and the matrix that makes a token of a square of patches.
#[derive(Debug)]
pub(super) struct Idefics3Vision {
    vision_model: Vit,
    proj: Linear,
    scale_factor: i64,
}

impl Idefics3Vision {
    pub(super) fn new(root: &Path<'_>, config: &Idefics3VisionConfig) -> Self {
        let (width, joined) = (config.tower.hidden_size, config.scale_factor);
        let proj = root.sub("connector.modality_projection.proj");
        Self {
            vision_model: Vit::new(&root.sub("vision_model"), &config.tower, Reads::Normed),
            proj: Linear::new(&proj, width * joined * joined, config.hidden_size, Bias::Without),
            scale_factor: joined,
        }
    }

    /// Squares of patches side by side, of the states `[tiles·n², E]` of tiles: `[M, s²·E]`.
    fn squares(&self, states: &Tensor, side: i64) -> Tensor {
        let (joined, width) = (self.scale_factor, states.size()[1]);
        let along = side / joined;
        let cells = states.view([-1, along, joined, along, joined, width]);
        cells.permute([0, 1, 3, 2, 4, 5]).reshape([-1, joined * joined * width])
    }
}

impl VisionTower for Idefics3Vision {
    fn forward(&self, media: &[Arc<Patches>], recompute: Recompute) -> Vec<Features> {
        let states = self.vision_model.forward(media, recompute); // [N, E]
        let counts: Vec<i64> = media.iter().map(|patches| patches.grid_thw.iter().product::<usize>() as i64).collect();
        let of_media = states.split_with_sizes(&counts, 0);
        let squares = of_media.iter().zip(media).map(|(own, patches)| self.squares(own, patches.grid_thw[1] as i64));
        let squares: Vec<Tensor> = squares.collect();
        let tokens: Vec<i64> = squares.iter().map(|own| own.size()[0]).collect();
        let features = self.proj.forward(&Tensor::cat(&squares, 0), Pass::Scoring); // [M, D]
        features.split_with_sizes(&tokens, 0).into_iter().map(Features::tokens).collect()
    }
}
