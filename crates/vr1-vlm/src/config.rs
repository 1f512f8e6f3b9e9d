use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use vr1_llm::Qwen2Config;
use vr1_vision::Qwen2VlVisionConfig;

use crate::{Error, Result};

/// The model types that can be loaded.
const KNOWN: [&str; 1] = ["qwen2_vl"];

/// A checkpoint's `config.json`, flat as published Qwen2-VL checkpoints have it or nested as transformers writes it now.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The language model.
    pub text: Qwen2Config,
    /// The vision tower.
    pub vision: Qwen2VlVisionConfig,
    /// The id that stands for a piece of an image.
    pub image_token_id: i64,
    /// The id that stands for a piece of a video.
    pub video_token_id: i64,
    /// The file as it was read; what is saved again.
    json: Map<String, Value>,
}

#[derive(Deserialize)]
struct Tokens {
    image_token_id: i64,
    video_token_id: i64,
}

impl ModelConfig {
    /// Reads `config.json` in the directory `dir`.
    ///
    /// # Errors
    /// If the file is missing, no JSON, of an unknown `model_type`, or lacks a key; the error names it.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|source| Error::io(&path, source))?;
        let json = serde_json::from_str(&text).map_err(|source| Error::Json { path: path.clone(), source })?;
        Self::from_json(json, &path)
    }

    /// The config in `json`, read from `path` (for messages).
    ///
    /// # Errors
    /// If the `model_type` is unknown, or a key is missing or of the wrong type.
    pub fn from_json(json: Map<String, Value>, path: &Path) -> Result<Self> {
        let setting = |key: &str, reason: String| Error::Setting { path: path.to_owned(), key: key.to_owned(), reason };
        let model_type = json.get("model_type").and_then(Value::as_str).unwrap_or("(none)");
        if !KNOWN.contains(&model_type) {
            return Err(setting("model_type", format!("{model_type:?} is not one of {}", KNOWN.join(", "))));
        }
        let mut text = json.clone();
        if let Some(Value::Object(nested)) = json.get("text_config") {
            text.extend(nested.clone());
        }
        let mut vision = json
            .get("vision_config")
            .and_then(Value::as_object)
            .cloned()
            .ok_or_else(|| setting("vision_config", "missing".to_owned()))?;
        // Published checkpoints say `in_chans`.
        if let (None, Some(channels)) = (vision.get("in_channels"), vision.get("in_chans").cloned()) {
            vision.insert("in_channels".to_owned(), channels);
        }
        fn part<T: DeserializeOwned>(map: Map<String, Value>) -> std::result::Result<T, String> {
            serde_json::from_value(Value::Object(map)).map_err(|e| e.to_string())
        }
        let tokens: Tokens = part(json.clone()).map_err(|e| setting("(top level)", e))?;
        Ok(Self {
            text: part(text).map_err(|e| setting("text_config", e))?,
            vision: part(vision).map_err(|e| setting("vision_config", e))?,
            image_token_id: tokens.image_token_id,
            video_token_id: tokens.video_token_id,
            json,
        })
    }

    /// Writes `config.json` into `dir`, as it was read.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join("config.json");
        let text = format!("{:#}\n", Value::Object(self.json.clone()));
        std::fs::write(&path, text).map_err(|source| Error::io(path, source))
    }
}
