use std::sync::Arc;

use image::RgbImage;
use ndarray::{Axis, Slice};

use super::Family;
use super::qwen2_vl::{self, Patched, VIDEO, extent, run};
use crate::files::Files;
use crate::frame_sampling::DEFAULT_FPS;
use crate::media::{Extent, Frames, Piece, Shows, Taken};
use crate::{FrameSampling, ImageProcessor, MediaSettings, Patches, Result, Tiles, VideoProcessor};

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

impl Timed {
    /// The text of a clip of so many temporal patches, the time before each.
    fn text(&self, taken: &Taken, times: usize) -> String {
        let deep = self.0.videos.frames.temporal_patch_size;
        let second = |place: usize| {
            let index = taken.indices.get(place).or(taken.indices.last()).copied().unwrap_or_default();
            index as f64 / taken.fps.unwrap_or(DEFAULT_FPS)
        };
        // The middle between the first and the last frame of a patch.
        let middle = |time: usize| (second(time * deep) + second(time * deep + deep - 1)) / 2.0;
        let said = |time| format!("<{:.1} seconds><|vision_start|>{VIDEO}<|vision_end|>", middle(time));
        (0..times).map(said).collect()
    }
}

impl Shows for Timed {
    fn image(&self, image: &RgbImage) -> Result<Piece> {
        self.0.image(image)
    }

    fn count_image(&self, sides: [u32; 2]) -> Result<Piece<Extent>> {
        self.0.count_image(sides)
    }

    fn frame_indices(&self, total: usize, fps: Option<f64>) -> Result<Vec<usize>> {
        self.0.frame_indices(total, fps)
    }

    fn video(&self, frames: &Frames<'_>) -> Result<Piece> {
        let merge = self.0.videos.frames.merge_size;
        let patches = self.0.patches_of(frames)?;
        let [times, h, w] = patches.grid_thw;
        let mut piece = Piece { text: self.text(&frames.taken, times), runs: Vec::with_capacity(times) };
        for time in 0..times {
            let rows = time * h * w..(time + 1) * h * w;
            let pixel_values = patches.pixel_values.slice_axis(Axis(0), Slice::from(rows)).to_owned();
            piece.runs.push(run(Patches { pixel_values, grid_thw: [1, h, w], tiles: Tiles::Whole }, merge, 1.0));
        }
        Ok(piece)
    }

    fn count_video(&self, taken: &Taken, [height, width]: [u32; 2]) -> Result<Piece<Extent>> {
        let (videos, count) = (&self.0.videos, taken.indices.len());
        let times = count.div_ceil(videos.frames.temporal_patch_size);
        let tokens = videos.tokens(count, height, width)? / times.max(1);
        let runs = vec![extent(tokens, videos.frames.merge_size); times];
        Ok(Piece { text: self.text(taken, times), runs })
    }

    fn taking(&self, sampling: FrameSampling) -> Option<Arc<dyn Shows>> {
        Some(Arc::new(Self(self.0.sampled(sampling))))
    }

    fn sized(&self, settings: &MediaSettings) -> Result<Arc<dyn Shows>> {
        Ok(Arc::new(Self(self.0.bounded(settings)?)))
    }

    fn patches(&self) -> Option<(&ImageProcessor, &VideoProcessor)> {
        self.0.patches()
    }
}
