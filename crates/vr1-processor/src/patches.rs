use image::RgbImage;
use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// An image, or the frames of a video, cut into the patches a vision encoder reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Patches {
    /// One row a patch, `[N, C * temporal_patch_size * patch_size * patch_size]`, a row laid out in that order.
    ///
    /// The rows go by time, or tile by tile, then by squares of `merge_size × merge_size` patches from left to right and top to
    /// bottom, and inside a square again from left to right and top to bottom, so that the rows which the patch merger joins
    /// into one token lie side by side.
    pub pixel_values: Array2<f32>,
    /// Patches in time (or tiles), in height and in width; their product is N.
    pub grid_thw: [usize; 3],
    /// What the first number of the grid counts.
    pub tiles: Tiles,
}

/// How a picture was laid out in tiles, which an encoder reads as pictures of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tiles {
    /// Not at all: a whole picture, or frames one after the other.
    #[default]
    Whole,
    /// On a canvas of `rows × columns` tiles, the picture in its upper left corner, black around it. The tiles go from left to right
    /// and top to bottom.
    Canvas {
        /// Tiles above one another.
        rows: usize,
        /// Tiles side by side.
        columns: usize,
    },
    /// The whole picture in the first tile, whatever its aspect; behind it `rows × columns` tiles of a canvas with the picture
    /// in the middle, black around it.
    Overview {
        /// Tiles above one another.
        rows: usize,
        /// Tiles side by side.
        columns: usize,
        /// Lines and columns of patches in the middle of the canvas that show the picture; the others are cut away.
        kept: [usize; 2],
    },
    /// Each tile with something in its upper left corner, black around it: for each, how many lines and columns of patches show
    /// anything of it.
    Corners(Vec<[usize; 2]>),
}

impl Patches {
    /// Patches of the same cut that show nothing: everywhere the colour that normalised pictures have in the mean.
    #[must_use]
    pub fn blank(&self) -> Self {
        let pixel_values = Array2::zeros(self.pixel_values.raw_dim());
        Self { pixel_values, grid_thw: self.grid_thw, tiles: self.tiles.clone() }
    }

    /// Whether `other` is cut in the same way, and so stands for as many tokens in the same places.
    #[must_use]
    pub fn is_cut_as(&self, other: &Self) -> bool {
        self.grid_thw == other.grid_thw
            && self.tiles == other.tiles
            && self.pixel_values.dim() == other.pixel_values.dim()
    }

    /// How many tokens of the language model the patches become: `t * h * w / merge_size²`.
    pub fn tokens(&self, merge_size: usize) -> usize {
        self.grid_thw.iter().product::<usize>() / (merge_size * merge_size)
    }
}

/// How pixels become patches.
pub(crate) struct Layout<'a> {
    pub(crate) patch_size: usize,
    pub(crate) temporal_patch_size: usize,
    pub(crate) merge_size: usize,
    /// For each channel the value of each of the 256 grey levels.
    pub(crate) levels: &'a [[f32; 256]; 3],
}

/// Cuts frames, all of one size, into patches; the last frame is repeated until the temporal patch is full.
///
/// T frames of H × W pixels give `[t * h * w, 3 * tp * p * p]` where t = ⌈T / tp⌉, h = H / p, w = W / p.
pub(crate) fn patchify(frames: &[&RgbImage], layout: &Layout<'_>) -> Result<Patches> {
    let (patch, merge, temporal) = (layout.patch_size, layout.merge_size, layout.temporal_patch_size);
    let Some(first) = frames.first() else { return Err(Error::NoFrames) };
    let (width, height) = (first.width() as usize, first.height() as usize);
    let unit = patch * merge;
    if width == 0 || height == 0 || width % unit != 0 || height % unit != 0 {
        return Err(Error::NotWholePatches { height, width, unit });
    }
    let grid_thw = [frames.len().div_ceil(temporal), height / patch, width / patch];
    let row_len = 3 * temporal * patch * patch;
    let in_time = |t: usize| {
        let frame = |dt: usize| frames[(t * temporal + dt).min(frames.len() - 1)].as_raw().as_slice();
        let planes: Vec<&[u8]> = (0..temporal).map(frame).collect();
        let mut values = Vec::with_capacity(grid_thw[1] * grid_thw[2] * row_len);
        for (top, left) in places(height, width, patch, merge) {
            push_row(&mut values, &planes, layout, width, [top, left]);
        }
        values
    };
    let mut parts: Vec<Vec<f32>> = (0..grid_thw[0]).into_par_iter().map(in_time).collect();
    let values = if parts.len() == 1 { parts.remove(0) } else { parts.concat() };
    let shape = (grid_thw.iter().product(), row_len);
    let pixel_values = Array2::from_shape_vec(shape, values).expect("as many values as were laid out");
    Ok(Patches { pixel_values, grid_thw, tiles: Tiles::Whole })
}

/// Where patches begin, by squares of `merge × merge`, and inside a square again by lines.
fn places(height: usize, width: usize, patch: usize, merge: usize) -> impl Iterator<Item = (usize, usize)> {
    let unit = patch * merge;
    let squares = move |top| (0..width).step_by(unit).map(move |left| (top, left));
    let inside = move |(top, left)| {
        (0..merge * merge).map(move |inner| (top + inner / merge * patch, left + inner % merge * patch))
    };
    (0..height).step_by(unit).flat_map(squares).flat_map(inside)
}

/// One row: for each channel, for each frame of the temporal patch, `patch_size` lines of `patch_size` values.
fn push_row(row: &mut Vec<f32>, planes: &[&[u8]], layout: &Layout<'_>, width: usize, [top, left]: [usize; 2]) {
    let patch = layout.patch_size;
    for (channel, levels) in layout.levels.iter().enumerate() {
        for (time, plane) in planes.iter().enumerate() {
            if time > 0 && std::ptr::eq(*plane, planes[time - 1]) {
                row.extend_from_within(row.len() - patch * patch..);
                continue;
            }
            for y in top..top + patch {
                let from = (y * width + left) * 3;
                let pixels = plane[from..from + patch * 3].chunks_exact(3);
                row.extend(pixels.map(|pixel| levels[usize::from(pixel[channel])]));
            }
        }
    }
}
