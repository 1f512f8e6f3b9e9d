use std::path::Path;

use image::RgbImage;
use serde_json::{Map, Value, json};

use crate::patches::{Layout, Patches, patchify};
use crate::pixels::{CLIP, Library, Pixels};
use crate::resize::{Resample, resize, smart_resize};
use crate::settings::{self, Settings};
use crate::{Error, Result};

/// The classes of transformers whose settings mean what this processor does.
pub(crate) const TYPES: [&str; 5] = [
    "Qwen2VLImageProcessor",
    "Qwen2VLImageProcessorFast",
    "Qwen2VLImageProcessorPil",
    "Qwen2_5_VLImageProcessor",
    "Qwen2_5_VLImageProcessorFast",
];

/// The steps it has.
pub(crate) const STEPS: [&str; 4] = ["do_resize", "do_rescale", "do_normalize", "do_convert_rgb"];

/// Pictures made into patches: smart resize, rescaling, normalisation, patch order of Qwen2-VL.
///
/// `value = (level * rescale_factor - image_mean[c]) / image_std[c]`, computed in the folded form
/// `(level - mean / rescale_factor) / (std / rescale_factor)` of transformers' default (torchvision) processor, so
/// that the values are equal to its to the last bit.
///
/// # Example
/// ```
/// use image::RgbImage;
/// use vr1_processor::ImageProcessor;
///
/// let patches = ImageProcessor::default().process(&RgbImage::new(150, 100))?;
/// assert_eq!(patches.grid_thw, [1, 8, 10]);                    // 112 × 140 pixels in patches of 14 × 14
/// assert_eq!(patches.pixel_values.dim(), (80, 3 * 2 * 14 * 14));
/// assert_eq!(patches.tokens(2), 20);
/// # Ok::<(), vr1_processor::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ImageProcessor {
    /// Whether images are resized at all; if not, their sides must already be whole patches.
    pub do_resize: bool,
    /// The filter they are resized with.
    pub resample: Resample,
    /// The least area in pixels after resizing (`min_pixels`, today `size.shortest_edge`).
    pub min_pixels: u64,
    /// The greatest area in pixels after resizing (`max_pixels`, today `size.longest_edge`).
    pub max_pixels: u64,
    /// Whether grey levels are multiplied by `rescale_factor`.
    pub do_rescale: bool,
    /// What they are multiplied by.
    pub rescale_factor: f64,
    /// Whether mean and deviation are taken off.
    pub do_normalize: bool,
    /// Mean of each channel.
    pub image_mean: [f64; 3],
    /// Standard deviation of each channel.
    pub image_std: [f64; 3],
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Frames in a patch.
    pub temporal_patch_size: usize,
    /// Side of the square of patches that becomes one token.
    pub merge_size: usize,
}

impl Default for ImageProcessor {
    /// What transformers' `Qwen2VLImageProcessor` has where a file says nothing.
    fn default() -> Self {
        Self {
            do_resize: true,
            resample: Resample::Bicubic,
            min_pixels: 56 * 56,
            max_pixels: 28 * 28 * 1280,
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: CLIP[0],
            image_std: CLIP[1],
            patch_size: 14,
            temporal_patch_size: 2,
            merge_size: 2,
        }
    }
}

impl ImageProcessor {
    /// Reads the settings of a checkpoint directory: the `image_processor` of `processor_config.json` where there is
    /// one, else `preprocessor_config.json`.
    ///
    /// # Errors
    /// When neither is there or readable, or as [`from_config`](Self::from_config).
    pub fn from_dir(dir: &Path) -> Result<Self> {
        if let Some((block, file)) = settings::block(dir, "image_processor")? {
            return Self::from_config(&block, &file);
        }
        let path = dir.join("preprocessor_config.json");
        if !path.is_file() {
            return Err(Error::NoImageProcessor { dir: dir.to_path_buf() });
        }
        Self::from_config(&settings::read_json(&path)?, &path.display().to_string())
    }

    /// Reads the settings from JSON; `file` names it in errors. Keys it lacks take [`default`](Self::default)'s
    /// values; `min_pixels` and `max_pixels` win over `size`.
    ///
    /// # Errors
    /// When a value has the wrong kind or range, when the class is another, and when a step is asked for that this
    /// processor does not do (`do_center_crop`, `do_pad`, …): the setting is named.
    pub fn from_config(config: &Value, file: &str) -> Result<Self> {
        let settings = Settings::new(config, file)?;
        settings.refuse_unknown_steps(&STEPS)?;
        settings.refuse_other_types("image_processor_type", &TYPES)?;
        Self::default().updated(&settings)
    }

    /// The same processor with what the settings say.
    pub(crate) fn updated(self, settings: &Settings<'_>) -> Result<Self> {
        let (size_min, size_max) = settings.size()?;
        let processor = Self {
            do_resize: settings.flag("do_resize", self.do_resize)?,
            resample: settings.resample(Resample::default())?,
            min_pixels: settings.whole("min_pixels", size_min.unwrap_or(self.min_pixels))?,
            max_pixels: settings.whole("max_pixels", size_max.unwrap_or(self.max_pixels))?,
            do_rescale: settings.flag("do_rescale", self.do_rescale)?,
            rescale_factor: settings.positive("rescale_factor", self.rescale_factor)?,
            do_normalize: settings.flag("do_normalize", self.do_normalize)?,
            image_mean: settings.channels("image_mean", self.image_mean)?,
            image_std: settings.channels("image_std", self.image_std)?,
            patch_size: settings.whole("patch_size", self.patch_size as u64)? as usize,
            temporal_patch_size: settings.whole("temporal_patch_size", self.temporal_patch_size as u64)? as usize,
            merge_size: settings.whole("merge_size", self.merge_size as u64)? as usize,
        };
        processor.validate(settings.file())?;
        Ok(processor)
    }

    /// Writes `preprocessor_config.json`, in both generations of keys.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let mut config = Map::new();
        config.insert("image_processor_type".into(), "Qwen2VLImageProcessor".into());
        self.write(&mut config);
        settings::write_json(&dir.join("preprocessor_config.json"), config)
    }

    /// The settings as transformers names them.
    pub(crate) fn write(&self, config: &mut Map<String, Value>) {
        let settings = json!({
            "do_convert_rgb": true,
            "do_resize": self.do_resize,
            "resample": self.resample.to_pillow(),
            "min_pixels": self.min_pixels,
            "max_pixels": self.max_pixels,
            "size": { "shortest_edge": self.min_pixels, "longest_edge": self.max_pixels },
            "do_rescale": self.do_rescale,
            "rescale_factor": self.rescale_factor,
            "do_normalize": self.do_normalize,
            "image_mean": self.image_mean,
            "image_std": self.image_std,
            "patch_size": self.patch_size,
            "temporal_patch_size": self.temporal_patch_size,
            "merge_size": self.merge_size,
        });
        if let Value::Object(settings) = settings {
            config.extend(settings);
        }
    }

    /// The height and width an image of that height and width has after resizing.
    ///
    /// # Errors
    /// As [`smart_resize`]; where resizing is off, when the sides are not whole patches.
    pub fn resized(&self, height: u32, width: u32) -> Result<(u32, u32)> {
        let unit = self.patch_size * self.merge_size;
        if self.do_resize {
            return smart_resize(height, width, unit as u32, self.min_pixels, self.max_pixels);
        }
        let (h, w) = (height as usize, width as usize);
        match h > 0 && w > 0 && h % unit == 0 && w % unit == 0 {
            true => Ok((height, width)),
            false => Err(Error::NotWholePatches { height: h, width: w, unit }),
        }
    }

    /// How many tokens an image of that height and width becomes; it needs no pixels.
    ///
    /// # Errors
    /// As [`resized`](Self::resized).
    pub fn tokens(&self, height: u32, width: u32) -> Result<usize> {
        let (height, width) = self.resized(height, width)?;
        let unit = self.patch_size * self.merge_size;
        Ok((height as usize / unit) * (width as usize / unit))
    }

    /// One image as patches; its one frame fills the temporal patch.
    ///
    /// # Errors
    /// When it has no pixels, is more than 200 times as long as wide, or is not made of whole patches while resizing
    /// is off.
    pub fn process(&self, image: &RgbImage) -> Result<Patches> {
        let (height, width) = self.resized(image.height(), image.width())?;
        match image.dimensions() == (width, height) {
            true => self.patches(&[image]),
            false => self.patches(&[&resize(image, height, width, self.resample)?]),
        }
    }

    /// Frames of one size, resized already, as patches.
    pub(crate) fn patches(&self, frames: &[&RgbImage]) -> Result<Patches> {
        let layout = Layout {
            patch_size: self.patch_size,
            temporal_patch_size: self.temporal_patch_size,
            merge_size: self.merge_size,
            levels: &self.pixels().levels(),
        };
        patchify(frames, &layout)
    }

    fn pixels(&self) -> Pixels {
        Pixels {
            library: Library::Torchvision,
            resample: self.resample,
            rescale: self.do_rescale.then_some(self.rescale_factor),
            normalize: self.do_normalize.then_some([self.image_mean, self.image_std]),
        }
    }

    pub(crate) fn validate(&self, file: &str) -> Result<()> {
        let wrong = |key: &str, reason: String| Err(Error::Setting { file: file.into(), key: key.into(), reason });
        for (key, value) in [
            ("patch_size", self.patch_size),
            ("temporal_patch_size", self.temporal_patch_size),
            ("merge_size", self.merge_size),
        ] {
            if value == 0 || value > 4096 {
                return wrong(key, format!("{value} is not between 1 and 4096"));
            }
        }
        if self.min_pixels > self.max_pixels || self.max_pixels == 0 {
            return wrong("size", format!("least area {} and greatest area {}", self.min_pixels, self.max_pixels));
        }
        if let Some(std) = self.image_std.iter().find(|std| **std <= 0.0) {
            return wrong("image_std", format!("{std} is not above zero"));
        }
        Ok(())
    }
}
