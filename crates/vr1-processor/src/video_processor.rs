use std::borrow::Borrow;
use std::path::Path;

use image::RgbImage;
use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::image_processor::{STEPS, TYPES};
use crate::patches::Patches;
use crate::resize::{resize, smart_resize};
use crate::settings::{self, Settings};
use crate::{Error, FrameSampling, ImageProcessor, Result};

/// The class of transformers whose settings mean what this processor does.
const VIDEO_TYPES: [&str; 2] = ["Qwen2VLVideoProcessor", "Qwen2_5_VLVideoProcessor"];

/// Frames a second of a video that does not say, as transformers supposes.
const DEFAULT_FPS: f64 = 24.0;

/// The share of `max_video_tokens` whose pixels a capped video may have.
const CAPPED_SHARE: f64 = 0.9;

/// Videos made into patches: which frames are taken, then the steps of an [`ImageProcessor`] for each, with
/// `temporal_patch_size` frames in a patch; the last frame is repeated until the last patch is full.
///
/// # Example
/// ```
/// use image::RgbImage;
/// use vr1_processor::VideoProcessor;
///
/// let frames = vec![RgbImage::new(336, 308); 5];
/// let patches = VideoProcessor::default().process(&frames)?;
/// assert_eq!(patches.grid_thw, [3, 22, 24]); // 5 frames in pairs, 308 × 336 pixels in patches of 14 × 14
/// assert_eq!(patches.tokens(2), 396);
/// # Ok::<(), vr1_processor::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct VideoProcessor {
    /// What is done to each frame, and how patches are cut.
    pub frames: ImageProcessor,
    /// Which frames are taken (`do_sample_frames`, `fps`, `num_frames`).
    pub sampling: FrameSampling,
    /// The fewest frames that are taken of a video sampled by time.
    pub min_frames: usize,
    /// The most frames that are taken of a video sampled by time.
    pub max_frames: usize,
    /// Whether a frame's greatest area is also bounded by its share of the whole video's (`max_video_tokens`).
    pub cap_pixels_per_frame: bool,
    /// How many tokens a video may take where that is so.
    pub max_video_tokens: u64,
}

impl Default for VideoProcessor {
    /// What transformers' `Qwen2VLVideoProcessor` has where a file says nothing.
    fn default() -> Self {
        Self::of_frames(ImageProcessor {
            min_pixels: 128 * 28 * 28,
            max_pixels: 768 * 28 * 28,
            ..ImageProcessor::default()
        })
    }
}

impl VideoProcessor {
    /// All frames, each processed as `frames` says.
    pub fn of_frames(frames: ImageProcessor) -> Self {
        Self {
            frames,
            sampling: FrameSampling::All,
            min_frames: 4,
            max_frames: 768,
            cap_pixels_per_frame: false,
            max_video_tokens: 128_000,
        }
    }

    /// Reads the settings of a checkpoint directory: the `video_processor` of `processor_config.json` where there is
    /// one, else `video_preprocessor_config.json`, else `preprocessor_config.json`, as transformers does.
    ///
    /// # Errors
    /// When none is there or readable, or as [`from_config`](Self::from_config).
    pub fn from_dir(dir: &Path) -> Result<Self> {
        if let Some((block, file)) = settings::block(dir, "video_processor")? {
            return Self::from_config(&block, &file);
        }
        let files = ["video_preprocessor_config.json", "preprocessor_config.json"].map(|name| dir.join(name));
        match files.iter().find(|path| path.is_file()) {
            Some(path) => Self::from_config(&settings::read_json(path)?, &path.display().to_string()),
            None => Err(Error::NoImageProcessor { dir: dir.to_path_buf() }),
        }
    }

    /// Reads the settings from JSON; `file` names it in errors. Keys it lacks take [`default`](Self::default)'s
    /// values.
    ///
    /// # Errors
    /// When a value has the wrong kind or range, when the class is another, and when a step is asked for that this
    /// processor does not do: the setting is named.
    pub fn from_config(config: &Value, file: &str) -> Result<Self> {
        let settings = Settings::new(config, file)?;
        settings.refuse_unknown_steps(&[&STEPS[..], &["do_sample_frames"]].concat())?;
        settings.refuse_other_types("video_processor_type", &VIDEO_TYPES)?;
        settings.refuse_other_types("image_processor_type", &TYPES)?;
        let default = Self::default();
        let fps = settings.get("fps").map(|_| settings.positive("fps", 1.0)).transpose()?;
        let count = settings.get("num_frames").map(|_| settings.whole("num_frames", 0)).transpose()?;
        let sampling = match (settings.flag("do_sample_frames", false)?, fps, count) {
            (true, Some(_), Some(_)) => return settings.wrong("num_frames", "excludes `fps`; one of them".into()),
            (true, Some(fps), None) => FrameSampling::PerSecond(fps),
            (true, None, Some(count)) => FrameSampling::Count(count as usize),
            _ => FrameSampling::All,
        };
        Ok(Self {
            frames: default.frames.updated(&settings)?,
            sampling,
            min_frames: settings.whole("min_frames", default.min_frames as u64)? as usize,
            max_frames: settings.whole("max_frames", default.max_frames as u64)? as usize,
            cap_pixels_per_frame: settings.flag("cap_pixels_per_frame", default.cap_pixels_per_frame)?,
            max_video_tokens: settings.whole("max_video_tokens", default.max_video_tokens)?,
        })
    }

    /// Writes `video_preprocessor_config.json`, in both generations of keys.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let mut config = Map::new();
        config.insert("video_processor_type".into(), VIDEO_TYPES[0].into());
        self.frames.write(&mut config);
        config.insert("do_sample_frames".into(), (self.sampling != FrameSampling::All).into());
        match self.sampling {
            FrameSampling::All => None,
            FrameSampling::PerSecond(fps) => config.insert("fps".into(), fps.into()),
            FrameSampling::Count(count) => config.insert("num_frames".into(), count.into()),
        };
        config.insert("min_frames".into(), self.min_frames.into());
        config.insert("max_frames".into(), self.max_frames.into());
        config.insert("cap_pixels_per_frame".into(), self.cap_pixels_per_frame.into());
        config.insert("max_video_tokens".into(), self.max_video_tokens.into());
        settings::write_json(&dir.join("video_preprocessor_config.json"), config)
    }

    /// Which frames of a video of `total` frames are taken, `fps` of them a second where that is known.
    ///
    /// # Errors
    /// If the video has no frame, or fewer than are asked for, or is sampled by time and does not say its frames a second.
    pub fn frame_indices(&self, total: usize, fps: Option<f64>) -> Result<Vec<usize>> {
        self.sampling.indices(total, fps, self)
    }

    /// How many seconds a temporal patch of a video lasts: `temporal_patch_size` over the frames a second that were
    /// taken, where a video that does not say has 24.
    ///
    /// # Example
    /// ```
    /// use vr1_processor::VideoProcessor;
    /// // Of 100 frames at 25 a second 8 were taken: 2 a second, in pairs.
    /// assert_eq!(VideoProcessor::default().seconds_per_grid(8, 100, Some(25.0)), 1.0);
    /// ```
    pub fn seconds_per_grid(&self, taken: usize, total: usize, fps: Option<f64>) -> f64 {
        let fps = fps.map_or(DEFAULT_FPS, |fps| taken as f64 / total as f64 * fps);
        self.frames.temporal_patch_size as f64 / fps
    }

    /// The height and width that frames of that height and width have after resizing, where there are `count`.
    ///
    /// # Errors
    /// As [`ImageProcessor::resized`].
    pub fn resized(&self, count: usize, height: u32, width: u32) -> Result<(u32, u32)> {
        let frames = &self.frames;
        if !(frames.do_resize && self.cap_pixels_per_frame) {
            return frames.resized(height, width);
        }
        let factor = (frames.patch_size * frames.merge_size) as u64;
        let whole = ((self.max_video_tokens * factor * factor) as f64 * CAPPED_SHARE) as u64;
        let share = whole * frames.temporal_patch_size as u64 / count.max(1) as u64;
        let max_pixels = frames.max_pixels.min(share).max((frames.min_pixels as f64 * 1.05) as u64);
        smart_resize(height, width, factor as u32, frames.min_pixels, max_pixels)
    }

    /// How many tokens a video of `count` frames of that height and width becomes; it needs no pixels.
    ///
    /// # Errors
    /// As [`resized`](Self::resized).
    pub fn tokens(&self, count: usize, height: u32, width: u32) -> Result<usize> {
        let (height, width) = self.resized(count, height, width)?;
        let unit = self.frames.patch_size * self.frames.merge_size;
        let grid_t = count.div_ceil(self.frames.temporal_patch_size);
        Ok(grid_t * (height as usize / unit) * (width as usize / unit))
    }

    /// The frames that were taken, as patches.
    ///
    /// # Errors
    /// When there are none, when they differ in size, and as [`ImageProcessor::process`].
    pub fn process<F: Borrow<RgbImage> + Sync>(&self, frames: &[F]) -> Result<Patches> {
        let frames: Vec<&RgbImage> = frames.iter().map(Borrow::borrow).collect();
        let Some(first) = frames.first() else { return Err(Error::NoFrames) };
        if let Some(odd) = frames.iter().position(|frame| frame.dimensions() != first.dimensions()) {
            let (width, height) = frames[odd].dimensions();
            let expected = [first.height() as usize, first.width() as usize];
            return Err(Error::FrameSize { frame: odd, height, width, expected });
        }
        let (height, width) = self.resized(frames.len(), first.height(), first.width())?;
        if first.dimensions() == (width, height) {
            return self.frames.patches(&frames);
        }
        let resized = frames.par_iter().map(|frame| resize(frame, height, width, self.frames.resample));
        let resized = resized.collect::<Result<Vec<RgbImage>>>()?;
        self.frames.patches(&resized.iter().collect::<Vec<_>>())
    }
}
