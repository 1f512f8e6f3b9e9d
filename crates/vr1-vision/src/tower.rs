//! What vision towers have in common. `N` patches of all images, `M` tokens they merge into, `E` width, `D` the language
//! model's width.

use std::fmt::Debug;

use std::sync::Arc;

use serde_json::{Map, Value};
use tch::{Device, Tensor};
use vr1_nn::{Activation, Bias, Error, Heads, Init, Linear, Pass, Path, Recompute, Result, Rotation, vision_rotation};
use vr1_processor::Patches;

use crate::Features;

/// A vision encoder: patches to what a language model reads.
pub trait VisionTower: Debug + Send {
    /// The features of pictures and videos, all encoded in one pass, in order. Blocks keep for the backward pass what
    /// `recompute` says.
    fn forward(&self, media: &[Arc<Patches>], recompute: Recompute) -> Vec<Features>;
}

/// The parts of a `config.json` that a tower is read from.
#[derive(Debug, Clone, Copy)]
pub struct Sections<'a> {
    /// The keys of `vision_config`.
    pub vision: &'a Map<String, Value>,
    /// Those of the whole file.
    pub outer: &'a Map<String, Value>,
    /// The language model's width.
    pub hidden_size: i64,
}

/// What a config says of a tower, checked; the tower is built from it.
pub trait VisionConfig: Debug + Send + Sync {
    /// How pictures must be cut for it, where they are cut by these numbers alone.
    fn cut(&self) -> Option<Cut>;

    /// How many tokens of a prompt stand for a picture or video; none where it is not made as the tower wants it.
    fn tokens(&self, patches: &Patches) -> Option<usize>;

    /// How many states of a picture or video are looked at beside the text; none where its features are tokens.
    fn looked_at(&self, _: &Patches) -> Option<usize> {
        None
    }

    /// How the tower wants pictures, in words.
    fn wants(&self) -> String;

    /// The width of its features, the language model's.
    fn output(&self) -> i64;

    /// A tower whose parameters are below `root`, under the names of a published checkpoint.
    fn build(&self, root: &Path<'_>) -> Box<dyn VisionTower>;
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
    /// How many numbers a flattened patch has.
    pub(crate) fn values(self) -> i64 {
        self.channels * self.frames * self.patch * self.patch
    }

    /// How many tokens these patches are; none where they are of other numbers.
    pub(crate) fn tokens(self, patches: &Patches) -> Option<usize> {
        let (rows, width) = patches.pixel_values.dim();
        let square = (self.merge * self.merge) as usize;
        (width as i64 == self.values() && rows % square == 0).then(|| rows / square)
    }

    /// The same in words.
    pub(crate) fn wants(self) -> String {
        format!("{} patches of {} values a token", self.merge * self.merge, self.values())
    }

    /// The matrix that embeds a flattened patch, `[E, channels · frames · patch²]`: a convolution whose stride is its
    /// kernel.
    pub(crate) fn embedding(self, path: &Path<'_>, width: i64) -> Tensor {
        let shape = [width, self.channels, self.frames, self.patch, self.patch];
        path.sub("patch_embed.proj").get("weight", &shape, Init::Normal((1.0 / self.values() as f64).sqrt()))
    }
}

/// The patches of all media, one behind the other as a tower's `weight` is: `[N, values]`.
pub(crate) fn pixels(media: &[Arc<Patches>], weight: &Tensor) -> Tensor {
    let rows = media.iter().map(|patches| {
        let values = patches.pixel_values.as_standard_layout();
        // A freshly laid out array is one slice.
        let rows = Tensor::from_slice(values.as_slice().unwrap_or_default()).view([values.nrows() as i64, -1]);
        rows.to_device(weight.device()).to_kind(weight.kind())
    });
    let mut rows: Vec<Tensor> = rows.collect();
    if rows.len() == 1 { rows.remove(0) } else { Tensor::cat(&rows, 0) }
}

/// The grids of media in time, height and width.
pub(crate) fn grids(media: &[Arc<Patches>]) -> Vec<[i64; 3]> {
    media.iter().map(|patches| patches.grid_thw.map(|n| n as i64)).collect()
}

/// The tokens `[M, D]` of all media, `merge²` patches each, apart.
pub(crate) fn apart(tokens: &Tensor, grid_thw: &[[i64; 3]], merge: i64) -> Vec<Features> {
    let counts: Vec<i64> = grid_thw.iter().map(|grid| grid.iter().product::<i64>() / (merge * merge)).collect();
    tokens.split_with_sizes(&counts, 0).into_iter().map(Features::tokens).collect()
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
