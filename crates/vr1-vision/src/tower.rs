//! What vision towers have in common. `N` patches of all images, `M` tokens they merge into, `E` width, `D` the language
//! model's width.

use std::fmt::Debug;

use tch::{Device, Tensor};
use vr1_nn::{Activation, Bias, Error, Heads, Init, Linear, Pass, Path, Recompute, Result, Rotation, vision_rotation};

/// A vision encoder: patches to tokens of the language model.
pub trait VisionTower: Debug + Send {
    /// Flattened patches `pixel_values` `[N, channels · frames · patch²]` of images and videos whose grids of frames, rows
    /// and columns are `grid_thw`, to features `[M, D]` in the same order, `M = N / merge²`. Blocks
    /// keep for the backward pass what `recompute` says.
    fn forward(&self, pixel_values: &Tensor, grid_thw: &[[i64; 3]], recompute: Recompute) -> Tensor;
}

/// What a `vision_config` says, checked; a tower is built from it.
pub trait VisionConfig: Debug + Send + Sync {
    /// How pictures must be cut for it.
    fn cut(&self) -> Cut;

    /// The width of its features, the language model's.
    fn output(&self) -> i64;

    /// A tower whose parameters are at `path`, `visual` in a published checkpoint.
    fn build(&self, path: &Path<'_>) -> Box<dyn VisionTower>;
}

/// How pictures are cut into patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Colour channels.
    pub channels: i64,
    /// Side of a patch in pixels.
    pub patch: i64,
    /// Side of the square of patches that becomes one token.
    pub merge: i64,
    /// Frames in a patch.
    pub frames: i64,
}

impl Cut {
    /// The matrix that embeds a flattened patch, `[E, channels · frames · patch²]`: a convolution whose stride is its
    /// kernel.
    pub(crate) fn embedding(self, path: &Path<'_>, width: i64) -> Tensor {
        let numbers = self.channels * self.frames * self.patch * self.patch;
        let shape = [width, self.channels, self.frames, self.patch, self.patch];
        path.sub("patch_embed.proj").get("weight", &shape, Init::Normal((1.0 / numbers as f64).sqrt()))
    }
}

/// Patches to the tower's width: `[N, channels · frames · patch²]` to `[N, E]`.
pub(crate) fn embed(pixel_values: &Tensor, weight: &Tensor) -> Tensor {
    pixel_values.linear(&weight.flatten(1, -1), None::<&Tensor>)
}

/// The heads of a tower of this width.
pub(crate) fn heads((key, width): (&str, i64), count: i64) -> Result<Heads> {
    if count < 1 || width % count != 0 || (width / count) % 4 != 0 {
        let reason =
            format!("`{key}` {width} must be a multiple of four times `num_heads` {count}: two axes share a head");
        return Err(Error::Config(reason));
    }
    Heads::new(count, count, width / count)
}

/// The row and the column of every patch, `[N]` each. Patches come frame by frame, square by square, row by row inside a
/// square of `merge × merge`.
pub(crate) fn places(grid_thw: &[[i64; 3]], merge: i64) -> (Vec<i64>, Vec<i64>) {
    let (mut rows, mut columns) = (Vec::new(), Vec::new());
    for &[frames, height, width] in grid_thw {
        let start = rows.len();
        for square in 0..(height / merge) * (width / merge) {
            let (top, left) = (square / (width / merge) * merge, square % (width / merge) * merge);
            for inner in 0..merge * merge {
                rows.push(top + inner / merge);
                columns.push(left + inner % merge);
            }
        }
        let (row, column) = (rows[start..].to_vec(), columns[start..].to_vec());
        for _ in 1..frames {
            rows.extend_from_slice(&row);
            columns.extend_from_slice(&column);
        }
    }
    (rows, columns)
}

/// The rotation of patches at these rows and columns.
pub(crate) fn rotation(rows: &[i64], columns: &[i64], head_dim: i64, device: Device) -> Rotation {
    vision_rotation(&index(rows, device), &index(columns, device), head_dim)
}

/// The lengths in patches of all frames.
pub(crate) fn frames(grid_thw: &[[i64; 3]]) -> impl Iterator<Item = i64> + '_ {
    grid_thw.iter().flat_map(|&[frames, height, width]| (0..frames).map(move |_| height * width))
}

/// Joins squares of patches, already normed, into tokens of the language model.
#[derive(Debug)]
pub(crate) struct PatchMerger {
    first: Linear,
    second: Linear,
    joined: i64,
}

impl PatchMerger {
    pub(crate) fn new(path: &Path<'_>, width: i64, cut: Cut, output: i64) -> Self {
        let joined = width * cut.merge * cut.merge;
        Self {
            first: Linear::new(&path.sub("mlp.0"), joined, joined, Bias::With),
            second: Linear::new(&path.sub("mlp.2"), joined, output, Bias::With),
            joined,
        }
    }

    /// `[N, E]` to `[M, D]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let inner = Activation::Gelu.forward(&self.first.forward(&x.view([-1, self.joined]), Pass::Scoring));
        self.second.forward(&inner, Pass::Scoring)
    }
}

/// Indices as a tensor.
pub(crate) fn index(places: &[i64], device: Device) -> Tensor {
    Tensor::from_slice(places).to_device(device)
}
