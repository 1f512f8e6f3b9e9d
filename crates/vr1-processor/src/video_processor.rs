use std::borrow::Borrow;
use std::path::Path;

use image::RgbImage;
use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::frame_sampling::DEFAULT_FPS;
use crate::image_processor::{STEPS, TYPES};
use crate::patches::Patches;
use crate::pixels::{HALVES, MAX_AREA};
use crate::resize::{MAX_ASPECT, resize, smart_resize};
use crate::settings::{self, Settings};
use crate::{Error, FrameSampling, ImageProcessor, Result};

/// The classes of transformers whose settings mean what this processor does, by their budget.
const VIDEO_TYPES: [(&str, Budget); 3] = [
    ("Qwen2VLVideoProcessor", Budget::Frame),
    ("Qwen2_5_VLVideoProcessor", Budget::Frame),
    ("Qwen3VLVideoProcessor", Budget::Clip),
];

/// What the bounds of the area are those of, and how frames are chosen with it; the class of the settings says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Budget {
    /// Of each frame, as of a picture. Of `total` frames the `n` are taken that `⌊i · total / n⌋` counts, whole temporal patches of
    /// them (Qwen2-VL, Qwen2.5-VL).
    #[default]
    Frame,
    /// Of all frames of a video together. Taken are those that `i · (total - 1) / (n - 1)` counts, rounded, from the first to the
    /// last (Qwen3-VL).
    Clip,
}

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
    /// How many tokens a video, or with [`Budget::Clip`] a frame, may take where that is so.
    pub max_video_tokens: u64,
    /// What the bounds of the area are those of.
    pub budget: Budget,
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
            budget: Budget::Frame,
        }
    }

    /// What transformers' `Qwen3VLVideoProcessor` has where a file says nothing.
    pub(crate) fn of_clips() -> Self {
        let side = 32 * 32;
        let frames = ImageProcessor {
            min_pixels: 128 * side,
            max_pixels: 768 * side,
            image_mean: HALVES[0],
            image_std: HALVES[1],
            patch_size: 16,
            ..ImageProcessor::default()
        };
        let sampling = FrameSampling::PerSecond(2.0);
        Self { sampling, max_video_tokens: 768, budget: Budget::Clip, ..Self::of_frames(frames) }
    }

    /// Reads the settings of a checkpoint directory: the `video_processor` of `processor_config.json` where there is
    /// one, else `video_preprocessor_config.json`, else `preprocessor_config.json`, as transformers does.
    ///
    /// # Errors
    /// When none is there or readable, or as [`from_config`](Self::from_config).
    pub fn from_dir(dir: &Path) -> Result<Self> {
        Self::from_dir_or(dir, Self::default())
    }

    /// As [`from_dir`](Self::from_dir); where the settings name no class, what they leave out is as in `default`.
    pub(crate) fn from_dir_or(dir: &Path, default: Self) -> Result<Self> {
        if let Some((block, file)) = settings::block(dir, "video_processor")? {
            return Self::read(&block, &file, default);
        }
        let files = ["video_preprocessor_config.json", "preprocessor_config.json"].map(|name| dir.join(name));
        match files.iter().find(|path| path.is_file()) {
            Some(path) => Self::read(&settings::read_json(path)?, &path.display().to_string(), default),
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
        Self::read(config, file, Self::default())
    }

    fn read(config: &Value, file: &str, default: Self) -> Result<Self> {
        let settings = Settings::new(config, file)?;
        settings.refuse_unknown_steps(&[&STEPS[..], &["do_sample_frames"]].concat())?;
        settings.refuse_other_types("video_processor_type", &VIDEO_TYPES.map(|(name, _)| name))?;
        settings.refuse_other_types("image_processor_type", &TYPES)?;
        let named = settings.get("video_processor_type").and_then(Value::as_str);
        let default = match VIDEO_TYPES.iter().find(|(name, _)| Some(*name) == named) {
            Some((_, Budget::Frame)) => Self::default(),
            Some((_, Budget::Clip)) => Self::of_clips(),
            None => default,
        };
        let fps = settings.get("fps").map(|_| settings.positive("fps", 1.0)).transpose()?;
        let count = settings.get("num_frames").map(|_| settings.whole("num_frames", 0)).transpose()?;
        let sampled = settings.flag("do_sample_frames", default.sampling != FrameSampling::All)?;
        let sampling = match (sampled, fps, count) {
            (true, Some(_), Some(_)) => return settings.wrong("num_frames", "excludes `fps`; one of them".into()),
            (true, Some(fps), None) => FrameSampling::PerSecond(fps),
            (true, None, Some(count)) => FrameSampling::Count(count as usize),
            (true, None, None) => default.sampling,
            (false, ..) => FrameSampling::All,
        };
        Ok(Self {
            frames: default.frames.updated(&settings)?,
            sampling,
            min_frames: settings.whole("min_frames", default.min_frames as u64)? as usize,
            max_frames: settings.whole("max_frames", default.max_frames as u64)? as usize,
            cap_pixels_per_frame: settings.flag("cap_pixels_per_frame", default.cap_pixels_per_frame)?,
            max_video_tokens: settings.whole("max_video_tokens", default.max_video_tokens)?,
            budget: default.budget,
        })
    }

    /// Writes `video_preprocessor_config.json`, in both generations of keys.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let mut config = Map::new();
        let class =
            VIDEO_TYPES.iter().find(|(_, budget)| *budget == self.budget).map_or(VIDEO_TYPES[0].0, |(name, _)| *name);
        config.insert("video_processor_type".into(), class.into());
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
        let factor = (frames.patch_size * frames.merge_size) as u64;
        if frames.do_resize && self.budget == Budget::Clip {
            return self.clip_resized(count, height, width, factor);
        }
        if !(frames.do_resize && self.cap_pixels_per_frame) {
            return frames.resized(height, width);
        }
        let whole = ((self.max_video_tokens * factor * factor) as f64 * CAPPED_SHARE) as u64;
        let share = whole * frames.temporal_patch_size as u64 / count.max(1) as u64;
        let max_pixels = frames.max_pixels.min(share).max((frames.min_pixels as f64 * 1.05) as u64);
        smart_resize(height, width, factor as u32, frames.min_pixels, max_pixels)
    }

    /// As [`smart_resize`], of all frames together.
    fn clip_resized(&self, count: usize, height: u32, width: u32, factor: u64) -> Result<(u32, u32)> {
        let (frames, deep) = (&self.frames, self.frames.temporal_patch_size);
        if count < deep {
            let reason = format!("{count} were taken, and a patch has {deep}");
            return Err(Error::Sampling { total: count, reason });
        }
        if height == 0 || width == 0 {
            return Err(Error::EmptyImage { height, width });
        }
        let max_pixels = match self.cap_pixels_per_frame {
            true => {
                let most = self.max_video_tokens.saturating_mul(factor * factor);
                let share = most.min(frames.max_pixels / count as u64);
                share.max((frames.min_pixels as f64 * 1.05) as u64).saturating_mul(count as u64)
            }
            false => frames.max_pixels,
        };
        let (mut h, mut w, f) = (f64::from(height), f64::from(width), factor as f64);
        if h < f || w < f {
            let scale = (f / h).max(f / w);
            (h, w) = ((h * scale).trunc(), (w * scale).trunc());
        }
        if h.max(w) / h.min(w) > MAX_ASPECT {
            return Err(Error::AspectRatio { height, width });
        }
        let (n, most, least) = (count as f64, max_pixels as f64, frames.min_pixels as f64);
        let whole = |side: f64| (side / f).round_ties_even() * f;
        let filled = (n / deep as f64).round_ties_even() * deep as f64;
        let area = filled * whole(h) * whole(w);
        let [to_h, to_w] = if area > most {
            let beta = (n * h * w / most).sqrt();
            [h, w].map(|side| ((side / beta / f).floor() * f).max(f))
        } else if area < least {
            let beta = (least / (n * h * w)).sqrt();
            [h, w].map(|side| (side * beta / f).ceil() * f)
        } else {
            [whole(h), whole(w)]
        };
        let (min_pixels, factor) = (frames.min_pixels, factor as u32);
        match to_h >= 1.0 && to_w >= 1.0 && to_h * to_w <= MAX_AREA as f64 {
            true => Ok((to_h as u32, to_w as u32)),
            false => Err(Error::NoSize { height, width, factor, min_pixels, max_pixels }),
        }
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
