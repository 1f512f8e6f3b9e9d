//! `N` patches of all images, `M` tokens they merge into, `E` width, `D` the language model's width.

use tch::{Kind, Tensor};
use vr1_nn::{Init, Path, Result, Rotation, vision_rotation};

use super::Qwen2VlVisionConfig;
use super::block::{Block, PatchMerger};

/// The vision tower: patches to tokens of the language model.
#[derive(Debug)]
pub struct Qwen2VlVision {
    patch_embed: Tensor,
    blocks: Vec<Block>,
    merger: PatchMerger,
    config: Qwen2VlVisionConfig,
}

impl Qwen2VlVision {
    /// A tower whose parameters are at `path`, `visual` in a published checkpoint.
    ///
    /// # Errors
    /// If the config is impossible.
    pub fn new(path: &Path<'_>, config: &Qwen2VlVisionConfig) -> Result<Self> {
        let patch = config.patch_size;
        let shape = [config.embed_dim, config.in_channels, config.temporal_patch_size, patch, patch];
        let init = Init::Normal((1.0 / config.patch_numbers() as f64).sqrt());
        let patch_embed = path.sub("patch_embed.proj").get("weight", &shape, init);
        let blocks = path.sub("blocks");
        let blocks = (0..config.depth).map(|i| Block::new(&blocks.sub(i), config)).collect::<Result<_>>()?;
        let merger = PatchMerger::new(&path.sub("merger"), config);
        Ok(Self { patch_embed, blocks, merger, config: config.clone() })
    }

    /// Flattened patches `pixel_values` `[N, channels · frames · patch²]` of images (or videos) whose grids of frames,
    /// rows and columns are `grid_thw`, to features `[M, D]` in the same order, `M = N / merge²`.
    ///
    /// Patches attend to those of their own frame; frames of one size that follow each other are one batch.
    pub fn forward(&self, pixel_values: &Tensor, grid_thw: &[[i64; 3]]) -> Tensor {
        // A convolution whose stride is its kernel is a matrix product with each flattened patch.
        let x = pixel_values.linear(&self.patch_embed.view([self.config.embed_dim, -1]), None::<&Tensor>);
        let (mut features, mut start) = (Vec::new(), 0);
        for (frames, rows, columns) in batches(grid_thw) {
            let count = frames * rows * columns;
            let mut part = x.narrow(0, start, count).view([frames, rows * columns, -1]);
            let rotation = self.rotation(rows, columns, x.kind(), x.device());
            for block in &self.blocks {
                part = block.forward(&part, &rotation);
            }
            features.push(self.merger.forward(&part));
            start += count;
        }
        Tensor::cat(&features, 0)
    }

    /// The rotation of one frame's patches, which come square by square, row by row inside a square.
    fn rotation(&self, rows: i64, columns: i64, kind: Kind, device: tch::Device) -> Rotation {
        let merge = self.config.spatial_merge_size;
        let by_square = |places: Tensor| {
            places.view([rows / merge, merge, columns / merge, merge]).permute([0, 2, 1, 3]).flatten(0, 3)
        };
        let options = (Kind::Int64, device);
        let row = Tensor::arange(rows, options).unsqueeze(1).expand([rows, columns], false).contiguous();
        let column = Tensor::arange(columns, options).unsqueeze(0).expand([rows, columns], false).contiguous();
        let head = self.config.embed_dim / self.config.num_heads;
        vision_rotation(&by_square(row), &by_square(column), head, kind)
    }
}

/// Grids joined into runs of frames of one size: `(frames, rows, columns)`.
fn batches(grid_thw: &[[i64; 3]]) -> Vec<(i64, i64, i64)> {
    let mut runs: Vec<(i64, i64, i64)> = Vec::new();
    for &[frames, rows, columns] in grid_thw {
        match runs.last_mut() {
            Some(last) if (last.1, last.2) == (rows, columns) => last.0 += frames,
            _ => runs.push((frames, rows, columns)),
        }
    }
    runs
}
