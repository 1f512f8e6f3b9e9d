use std::borrow::Cow;
use std::sync::Arc;

use image::RgbImage;

use super::{Begins, ENDS, Family, ROLES};
use crate::files::Files;
use crate::media::{Extent, Frames, Piece, Run, Shows, Taken};
use crate::{FrameSampling, ImageProcessor, MediaSettings, Patches, Result, VideoProcessor};

pub(super) const QWEN2_VL: Family = Family {
    model_types: &["qwen2_vl"],
    classes: &["Qwen2VLProcessor"],
    image: IMAGE,
    video: VIDEO,
    spelt: &[],
    around: ["<|vision_start|>", "<|vision_end|>"],
    unsaid: &[IMAGE, VIDEO, "<|vision_pad|>", "<|vision_start|>", "<|vision_end|>"],
    roles: &["<|im_start|>"],
    ends: &["<|im_end|>", "<|endoftext|>"],
    ids: &[
        ("image_token_id", IMAGE),
        ("video_token_id", VIDEO),
        ("vision_start_token_id", "<|vision_start|>"),
        ("vision_end_token_id", "<|vision_end|>"),
    ],
    begins: Begins::ByTemplate,
    video_template: None,
    shows: |files| Patched::read(files, VideoProcessor::default(), |_| Ok(None)),
};

pub(super) const LLAMA: Family = Family { model_types: &["llama"], classes: &[], roles: ROLES, ends: ENDS, ..QWEN2_VL };

pub(super) const QWEN2_5_VL: Family = Family {
    model_types: &["qwen2_5_vl"],
    classes: &["Qwen2_5_VLProcessor"],
    shows: |files| Patched::read(files, VideoProcessor::default(), tokens_per_second),
    ..QWEN2_VL
};

/// Stands for one token of an image.
pub(super) const IMAGE: &str = "<|image_pad|>";
/// Stands for one token of a video.
pub(super) const VIDEO: &str = "<|video_pad|>";

/// Whole pictures and videos in patches, as many placeholders as squares of them are merged into one token.
#[derive(Debug, Clone)]
pub(crate) struct Patched {
    pub(crate) images: ImageProcessor,
    pub(crate) videos: VideoProcessor,
    /// How many positions in time make a second, in models that count seconds.
    tokens_per_second: Option<f64>,
}

impl Patched {
    /// Videos as the image settings say.
    pub(crate) fn new(images: ImageProcessor) -> Self {
        Self { videos: VideoProcessor::of_frames(images.clone()), images, tokens_per_second: None }
    }

    fn read(
        files: &Files<'_>,
        videos: VideoProcessor,
        seconds: impl Fn(&Files<'_>) -> Result<Option<f64>>,
    ) -> Result<Arc<dyn Shows>> {
        Ok(Arc::new(Self::read_with(files, videos, seconds)?))
    }

    /// Reads the settings; what a video's leave out is as in `videos`.
    pub(super) fn read_with(
        files: &Files<'_>,
        videos: VideoProcessor,
        seconds: impl Fn(&Files<'_>) -> Result<Option<f64>>,
    ) -> Result<Self> {
        Ok(Self {
            images: ImageProcessor::from_dir(files.dir)?,
            videos: VideoProcessor::from_dir_or(files.dir, videos)?,
            tokens_per_second: seconds(files)?,
        })
    }

    /// The same, taking other frames of videos.
    pub(super) fn sampled(&self, sampling: FrameSampling) -> Self {
        Self { videos: VideoProcessor { sampling, ..self.videos.clone() }, ..self.clone() }
    }

    /// The same with other bounds.
    pub(super) fn bounded(&self, settings: &MediaSettings) -> Result<Self> {
        let (images, videos) = (settings.images(&self.images)?, settings.videos(&self.videos)?);
        Ok(Self { images, videos, ..self.clone() })
    }

    /// The frames in patches.
    pub(super) fn patches_of(&self, frames: &Frames<'_>) -> Result<Patches> {
        let frames: Vec<&RgbImage> = frames.pixels.iter().map(Cow::as_ref).collect();
        self.videos.process(&frames)
    }
}

/// Patches whose squares of `merge` × `merge` are a token each.
pub(super) fn run(patches: Patches, merge: usize, interval: f32) -> Run {
    let [t, h, w] = patches.grid_thw;
    Run { patches: Arc::new(patches), grid: [t, h / merge, w / merge], interval: Some(interval) }
}

/// Tokens of `merge` × `merge` patches each.
pub(super) fn extent(tokens: usize, merge: usize) -> Extent {
    Extent { tokens, patches: tokens * merge * merge }
}

impl Shows for Patched {
    fn image(&self, image: &RgbImage) -> Result<Piece> {
        let run = run(self.images.process(image)?, self.images.merge_size, 1.0);
        Ok(Piece { text: IMAGE.into(), runs: vec![run] })
    }

    fn count_image(&self, [height, width]: [u32; 2]) -> Result<Piece<Extent>> {
        let tokens = self.images.tokens(height, width)?;
        Ok(Piece { text: IMAGE.into(), runs: vec![extent(tokens, self.images.merge_size)] })
    }

    fn frame_indices(&self, total: usize, fps: Option<f64>) -> Result<Vec<usize>> {
        self.videos.frame_indices(total, fps)
    }

    fn video(&self, frames: &Frames<'_>) -> Result<Piece> {
        let patches = self.patches_of(frames)?;
        let seconds = self.videos.seconds_per_grid(frames.taken.indices.len(), frames.taken.total, frames.taken.fps);
        // In f32, as transformers multiplies them.
        let interval = self.tokens_per_second.map_or(1.0, |tokens| tokens as f32 * seconds as f32);
        Ok(Piece { text: VIDEO.into(), runs: vec![run(patches, self.videos.frames.merge_size, interval)] })
    }

    fn count_video(&self, taken: &Taken, [height, width]: [u32; 2]) -> Result<Piece<Extent>> {
        let tokens = self.videos.tokens(taken.indices.len(), height, width)?;
        Ok(Piece { text: VIDEO.into(), runs: vec![extent(tokens, self.videos.frames.merge_size)] })
    }

    fn taking(&self, sampling: FrameSampling) -> Option<Arc<dyn Shows>> {
        Some(Arc::new(self.sampled(sampling)))
    }

    fn sized(&self, settings: &MediaSettings) -> Result<Arc<dyn Shows>> {
        Ok(Arc::new(self.bounded(settings)?))
    }

    fn patches(&self) -> Option<(&ImageProcessor, &VideoProcessor)> {
        Some((&self.images, &self.videos))
    }
}

/// Along a video's positions in time, how many make a second (Qwen2.5-VL).
fn tokens_per_second(files: &Files<'_>) -> Result<Option<f64>> {
    const DEFAULT: f64 = 4.0;
    let key = "tokens_per_second";
    let said = files.config()?.inside("vision_config", |vision| match vision.get(key) {
        None => Ok(DEFAULT),
        Some(value) => match value.as_f64().filter(|number| *number >= 0.0) {
            Some(number) => Ok(number),
            None => vision.wrong(key, format!("{value} is not a number of tokens")),
        },
    });
    said.map(|said| Some(said.unwrap_or(DEFAULT)))
}
