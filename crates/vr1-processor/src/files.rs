use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::settings::{self, Settings};
use crate::tokenizer::optional_json;
use crate::{Error, Result};

/// The files in which a checkpoint may say how it is shown pictures and videos.
const FILES: [&str; 3] = ["preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"];

/// What a checkpoint directory says about pictures.
#[derive(Debug)]
pub(crate) struct Files<'a> {
    pub(crate) dir: &'a Path,
    images: Option<(Value, String)>,
    processor: (Value, String),
    config: (Value, String),
}

impl<'a> Files<'a> {
    pub(crate) fn read(dir: &'a Path) -> Result<Self> {
        let images = match settings::block(dir, "image_processor")? {
            Some(block) => Some(block),
            None => {
                let path = dir.join(FILES[0]);
                let here = path.is_file().then(|| settings::read_json(&path)).transpose()?;
                here.map(|value| (value, path.display().to_string()))
            }
        };
        let object = |name: &str| {
            let path = dir.join(name);
            Ok((Value::Object(optional_json(&path)?), path.display().to_string()))
        };
        Ok(Self { dir, images, processor: object(FILES[1])?, config: object("config.json")? })
    }

    /// Whether it says anything about pictures at all.
    pub(crate) fn has_images(&self) -> bool {
        self.images.is_some()
    }

    /// The settings of the image processor.
    pub(crate) fn images(&self) -> Result<Settings<'_>> {
        match &self.images {
            Some((value, file)) => Settings::new(value, file),
            None => Err(Error::NoImageProcessor { dir: self.dir.to_path_buf() }),
        }
    }

    /// The settings beside those of images and videos.
    pub(crate) fn processor(&self) -> Result<Settings<'_>> {
        Settings::new(&self.processor.0, &self.processor.1)
    }

    /// `config.json`, the model's.
    pub(crate) fn config(&self) -> Result<Settings<'_>> {
        Settings::new(&self.config.0, &self.config.1)
    }

    /// The side of a patch in the model's `vision_config`: `alone` where there is no such block, `inside` where it does not say, by the
    /// encoder's `model_type`.
    pub(crate) fn patch_size(&self, alone: u32, inside: impl FnOnce(Option<&str>) -> u32) -> Result<usize> {
        let config = self.config()?;
        let said = config.inside("vision_config", |vision| {
            let kind = vision.get("model_type").and_then(Value::as_str);
            vision.side("patch_size", inside(kind))
        });
        Ok(said?.unwrap_or(alone) as usize)
    }
}

/// The `processor_class` that a checkpoint names.
pub(crate) fn processor_class(dir: &Path, tokenizer: &Map<String, Value>) -> Result<Option<String>> {
    let class = |map: &Map<String, Value>| map.get("processor_class").and_then(Value::as_str).map(str::to_owned);
    for name in [FILES[1], FILES[0]] {
        if let Some(class) = class(&optional_json(&dir.join(name))?) {
            return Ok(Some(class));
        }
    }
    Ok(class(tokenizer))
}

/// What was read, to be written again as it was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(Vec<(&'static str, Value)>);

impl Kept {
    pub(crate) fn of(dir: &Path) -> Result<Self> {
        let there: Vec<(&str, PathBuf)> =
            FILES.iter().map(|name| (*name, dir.join(name))).filter(|(_, path)| path.is_file()).collect();
        there.into_iter().map(|(name, path)| Ok((name, settings::read_json(&path)?))).collect::<Result<_>>().map(Self)
    }

    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        for (name, value) in &self.0 {
            let path = dir.join(name);
            std::fs::write(&path, format!("{value:#}\n")).map_err(|source| Error::io(path, source))?;
        }
        Ok(())
    }
}
