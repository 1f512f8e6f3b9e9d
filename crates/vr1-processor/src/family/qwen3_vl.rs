use std::sync::Arc;

use image::RgbImage;
use ndarray::{Axis, Slice};

use super::Family;
use super::qwen2_vl::{self, Patched, VIDEO, run};
use crate::files::Files;
use crate::frame_sampling::DEFAULT_FPS;
use crate::media::{Frames, Piece, Shows};
use crate::{FrameSampling, ImageProcessor, Patches, Result, Tiles, VideoProcessor};

pub(super) const FAMILY: Family = Family {
    model_types: &["qwen3_vl", "qwen3_vl_moe"],
    classes: &["Qwen3VLProcessor"],
    shows: |files| Ok(Arc::new(Timed::read(files)?)),
    ..qwen2_vl::QWEN2_VL
};

/// Whole pictures in patches, and videos as what was shown at one time after the other, the time before each in words.
#[derive(Debug, Clone)]
struct Timed(Patched);

impl Timed {
    fn read(files: &Files<'_>) -> Result<Self> {
        Patched::read_with(files, VideoProcessor::of_clips(), |_| Ok(None)).map(Self)
    }
}

impl Shows for Timed {
    fn image(&self, image: &RgbImage) -> Result<Piece> {
        self.0.image(image)
    }

    fn frame_indices(&self, total: usize, fps: Option<f64>) -> Result<Vec<usize>> {
        self.0.frame_indices(total, fps)
    }

    fn video(&self, frames: &Frames<'_>) -> Result<Piece> {
        let settings = &self.0.videos.frames;
        let (deep, merge) = (settings.temporal_patch_size, settings.merge_size);
        let patches = self.0.patches_of(frames)?;
        let [times, h, w] = patches.grid_thw;
        let second = |place: usize| {
            let index = frames.indices.get(place).or(frames.indices.last()).copied().unwrap_or_default();
            index as f64 / frames.fps.unwrap_or(DEFAULT_FPS)
        };
        let mut piece = Piece { text: String::new(), runs: Vec::with_capacity(times) };
        for time in 0..times {
            // The middle between the first and the last frame of a patch.
            let at = (second(time * deep) + second(time * deep + deep - 1)) / 2.0;
            piece.text.push_str(&format!("<{at:.1} seconds><|vision_start|>{VIDEO}<|vision_end|>"));
            let rows = time * h * w..(time + 1) * h * w;
            let pixel_values = patches.pixel_values.slice_axis(Axis(0), Slice::from(rows)).to_owned();
            piece.runs.push(run(Patches { pixel_values, grid_thw: [1, h, w], tiles: Tiles::Whole }, merge, 1.0));
        }
        Ok(piece)
    }

    fn taking(&self, sampling: FrameSampling) -> Option<Arc<dyn Shows>> {
        Some(Arc::new(Self(self.0.sampled(sampling))))
    }

    fn patches(&self) -> Option<(&ImageProcessor, &VideoProcessor)> {
        self.0.patches()
    }
}
