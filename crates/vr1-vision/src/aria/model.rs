//! `T` patches of all tiles that show something, `E` width, `M` queries of all tiles, `D` the language model's width.

use std::sync::Arc;

use vr1_nn::{Path, Recompute};
use vr1_processor::Patches;

use super::{AriaVisionConfig, Projector};
use crate::Features;
use crate::tower::VisionTower;
use crate::vit::{Reads, Vit, tiles};

/// The tower, and the queries that look at each of its tiles.
#[derive(Debug)]
pub(super) struct AriaVision {
    vision_tower: Vit,
    multi_modal_projector: Projector,
    config: AriaVisionConfig,
}

impl AriaVision {
    pub(super) fn new(root: &Path<'_>, config: &AriaVisionConfig) -> Self {
        Self {
            vision_tower: Vit::new(&root.sub("vision_tower"), &config.tower, Reads::Behind(vec![config.behind])),
            multi_modal_projector: Projector::new(&root.sub("multi_modal_projector"), config),
            config: config.clone(),
        }
    }
}

impl VisionTower for AriaVision {
    fn forward(&self, media: &[Arc<Patches>], recompute: Recompute) -> Vec<Features> {
        let states = self.vision_tower.forward(media, recompute); // [T, E]
        let of_media = |patches: &Arc<Patches>| {
            let queries = self.config.queries(patches).unwrap_or_default();
            let shown = tiles(patches).into_iter().map(|[rows, columns]| (rows * columns, queries));
            shown.collect::<Vec<_>>()
        };
        let looks: Vec<Vec<(i64, i64)>> = media.iter().map(of_media).collect();
        let tokens = self.multi_modal_projector.forward(&states, &looks.concat()); // [M, D]
        let counts: Vec<i64> = looks.iter().map(|own| own.iter().map(|(_, queries)| queries).sum()).collect();
        tokens.split_with_sizes(&counts, 0).into_iter().map(Features::tokens).collect()
    }
}
