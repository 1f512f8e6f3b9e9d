use std::fs;
use std::path::Path;

use image::RgbImage;
use serde_json::{Map, Value, json};

use crate::patches::{Layout, Patches, patchify};
use crate::resize::{Resample, resize, smart_resize};
use crate::{Error, Result};

/// The classes of transformers whose settings mean what this processor does.
const TYPES: [&str; 5] = [
    "Qwen2VLImageProcessor",
    "Qwen2VLImageProcessorFast",
    "Qwen2VLImageProcessorPil",
    "Qwen2_5_VLImageProcessor",
    "Qwen2_5_VLImageProcessorFast",
];

/// Pictures made into patches: smart resize, rescaling, normalisation, patch order of Qwen2-VL.
///
/// `value = (level * rescale_factor - image_mean[c]) / image_std[c]`, computed in the folded form
/// `(level - mean / rescale_factor) / (std / rescale_factor)` of transformers' default (torchvision) processor, so
/// that the values are equal to its to the last bit.
///
/// # Example
/// ```
/// use image::RgbImage;
/// use vr1_vision::ImageProcessor;
///
/// let patches = ImageProcessor::default().process(&RgbImage::new(150, 100))?;
/// assert_eq!(patches.grid_thw, [1, 8, 10]);                    // 112 × 140 pixels in patches of 14 × 14
/// assert_eq!(patches.pixel_values.dim(), (80, 3 * 2 * 14 * 14));
/// assert_eq!(patches.tokens(2), 20);
/// # Ok::<(), vr1_vision::Error>(())
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
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_58, 0.275_777_11],
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
        let path = dir.join("processor_config.json");
        if path.is_file() {
            let config = read_json(&path)?;
            if let Some(block) = config.get("image_processor").filter(|block| !block.is_null()) {
                return Self::from_config(block, &path.display().to_string());
            }
        }
        let path = dir.join("preprocessor_config.json");
        if !path.is_file() {
            return Err(Error::NoImageProcessor { dir: dir.to_path_buf() });
        }
        Self::from_config(&read_json(&path)?, &path.display().to_string())
    }

    /// Reads the settings from JSON; `file` names it in errors. Keys it lacks take [`default`](Self::default)'s
    /// values; `min_pixels` and `max_pixels` win over `size`.
    ///
    /// # Errors
    /// When a value has the wrong kind or range, when the class is another, and when a step is asked for that this
    /// processor does not do (`do_center_crop`, `do_pad`, …): the setting is named.
    pub fn from_config(config: &Value, file: &str) -> Result<Self> {
        let Some(map) = config.as_object() else {
            return Err(Error::Setting { file: file.into(), key: "".into(), reason: "not a JSON object".into() });
        };
        let settings = Settings { map, file };
        settings.refuse_unknown_steps()?;
        let default = Self::default();
        let (size_min, size_max) = settings.size()?;
        let processor = Self {
            do_resize: settings.flag("do_resize", default.do_resize)?,
            resample: settings.resample()?,
            min_pixels: settings.whole("min_pixels", size_min.unwrap_or(default.min_pixels))?,
            max_pixels: settings.whole("max_pixels", size_max.unwrap_or(default.max_pixels))?,
            do_rescale: settings.flag("do_rescale", default.do_rescale)?,
            rescale_factor: settings.positive("rescale_factor", default.rescale_factor)?,
            do_normalize: settings.flag("do_normalize", default.do_normalize)?,
            image_mean: settings.channels("image_mean", default.image_mean)?,
            image_std: settings.channels("image_std", default.image_std)?,
            patch_size: settings.whole("patch_size", default.patch_size as u64)? as usize,
            temporal_patch_size: settings.whole("temporal_patch_size", default.temporal_patch_size as u64)? as usize,
            merge_size: settings.whole("merge_size", default.merge_size as u64)? as usize,
        };
        processor.validate(file)?;
        Ok(processor)
    }

    /// Writes `preprocessor_config.json`, in both generations of keys.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join("preprocessor_config.json");
        let config = json!({
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2VLProcessor",
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
        let mut text = serde_json::to_string_pretty(&config).expect("a tree of JSON values can be written");
        text.push('\n');
        fs::write(&path, text).map_err(|source| Error::Io { path, source })
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
        let layout = Layout {
            patch_size: self.patch_size,
            temporal_patch_size: self.temporal_patch_size,
            merge_size: self.merge_size,
            levels: &self.levels(),
        };
        match image.dimensions() == (width, height) {
            true => patchify(&[image], &layout),
            false => patchify(&[&resize(image, height, width, self.resample)?], &layout),
        }
    }

    /// The value of each grey level in each channel.
    fn levels(&self) -> [[f32; 256]; 3] {
        let scale = match self.do_rescale {
            true => (1.0 / self.rescale_factor) as f32,
            false => 1.0,
        };
        std::array::from_fn(|channel| {
            let mean = self.image_mean[channel] as f32 * scale;
            let std = self.image_std[channel] as f32 * scale;
            std::array::from_fn(|level| match (self.do_normalize, self.do_rescale) {
                (true, _) => (level as f32 - mean) / std,
                (false, true) => level as f32 * self.rescale_factor as f32,
                (false, false) => level as f32,
            })
        })
    }

    fn validate(&self, file: &str) -> Result<()> {
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

fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
    serde_json::from_str(&text).map_err(|source| Error::Json { path: path.to_path_buf(), source })
}

/// Typed reading of one JSON object; a `null` counts as absent, as transformers writes it.
struct Settings<'a> {
    map: &'a Map<String, Value>,
    file: &'a str,
}

impl Settings<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn wrong<T>(&self, key: &str, reason: String) -> Result<T> {
        Err(Error::Setting { file: self.file.into(), key: key.into(), reason })
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => self.wrong(key, format!("{other} is not true or false")),
        }
    }

    fn whole(&self, key: &str, default: u64) -> Result<u64> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(number),
                None => self.wrong(key, format!("{value} is not a whole number")),
            },
        }
    }

    fn positive(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => match value.as_f64().filter(|number| *number > 0.0) {
                Some(number) => Ok(number),
                None => self.wrong(key, format!("{value} is not a number above zero")),
            },
        }
    }

    fn channels(&self, key: &str, default: [f64; 3]) -> Result<[f64; 3]> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let numbers: Option<Vec<f64>> = value
            .as_array()
            .map(|list| list.iter().filter_map(Value::as_f64).collect())
            .or(value.as_f64().map(|v| vec![v; 3]));
        match numbers.map(<[f64; 3]>::try_from) {
            Some(Ok(numbers)) => Ok(numbers),
            _ => self.wrong(key, format!("{value} is not one number for each of three channels")),
        }
    }

    fn resample(&self) -> Result<Resample> {
        let number = self.whole("resample", Resample::default().to_pillow() as u64)?;
        match Resample::from_pillow(number as i64) {
            Some(resample) => Ok(resample),
            None => self.wrong("resample", format!("{number}; known are 1 (lanczos), 2 (bilinear) and 3 (bicubic)")),
        }
    }

    /// `size` in any of its spellings: `{shortest_edge, longest_edge}` or `{min_pixels, max_pixels}`.
    fn size(&self) -> Result<(Option<u64>, Option<u64>)> {
        let Some(value) = self.get("size") else { return Ok((None, None)) };
        let Some(map) = value.as_object() else { return self.wrong("size", format!("{value} is not an object")) };
        let size = Settings { map, file: self.file };
        let bound =
            |today: &str, before: &str, outer: &str| match (size.get(today).or(size.get(before)), self.get(outer)) {
                (_, Some(_)) => Ok(None),
                (Some(value), None) => match value.as_u64() {
                    Some(number) => Ok(Some(number)),
                    None => self.wrong(&format!("size.{today}"), format!("{value} is not a whole number")),
                },
                (None, None) => self.wrong(&format!("size.{today}"), "missing".into()),
            };
        Ok((bound("shortest_edge", "min_pixels", "min_pixels")?, bound("longest_edge", "max_pixels", "max_pixels")?))
    }

    /// A step this processor has not, or a class whose steps are others.
    fn refuse_unknown_steps(&self) -> Result<()> {
        const KNOWN: [&str; 4] = ["do_resize", "do_rescale", "do_normalize", "do_convert_rgb"];
        for (key, value) in self.map {
            if key.starts_with("do_")
                && !KNOWN.contains(&key.as_str())
                && value != &Value::Bool(false)
                && !value.is_null()
            {
                return self.wrong(key, "this step is not one of Qwen2-VL's and is not implemented".into());
            }
        }
        if let Some(kind) = self.get("image_processor_type")
            && !kind.as_str().is_some_and(|kind| TYPES.contains(&kind))
        {
            return self.wrong("image_processor_type", format!("{kind} is unknown; known are {}", TYPES.join(", ")));
        }
        Ok(())
    }
}
