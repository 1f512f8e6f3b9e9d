use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use tch::Kind;
use vr1_llm::DecoderConfig;
use vr1_nn::Names;
use vr1_vision::{Sections, VisionConfig};

use super::families::{FAMILIES, Family};
use super::freeze::ModelPart;
use crate::{Error, Result};

/// A checkpoint's `config.json`, flat as published checkpoints have it or nested as transformers writes it now.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// The language model.
    pub text: DecoderConfig,
    /// The vision tower, where there is one.
    pub vision: Option<Arc<dyn VisionConfig>>,
    /// The file as it was read; what is saved again.
    json: Map<String, Value>,
    family: &'static Family,
}

impl ModelConfig {
    /// Reads `config.json` in the directory `dir`.
    ///
    /// # Errors
    /// If the file is missing, no JSON, of an unknown `model_type`, or has an impossible key; the error names it.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|source| Error::io(&path, source))?;
        let json = serde_json::from_str(&text).map_err(|source| Error::Json { path: path.clone(), source })?;
        Self::from_json(json, &path)
    }

    /// The config in `json`, read from `path` (for messages). What it leaves out is as the class in transformers has it.
    ///
    /// # Errors
    /// If the `model_type` is unknown, or a key is of the wrong type, or impossible.
    pub fn from_json(json: Map<String, Value>, path: &Path) -> Result<Self> {
        let setting = |key: &str, reason: String| Error::Setting { path: path.to_owned(), key: key.to_owned(), reason };
        let model_type = json.get("model_type").and_then(Value::as_str).unwrap_or("(none)");
        let Some(family) = FAMILIES.iter().find(|family| family.model_type == model_type) else {
            let known: Vec<&str> = FAMILIES.iter().map(|family| family.model_type).collect();
            return Err(setting("model_type", format!("{model_type:?} is not one of {}", known.join(", "))));
        };
        let nested = |key: &str| json.get(key).and_then(Value::as_object);
        let mut keys = json.clone();
        if let Some(nested) = nested("text_config") {
            // What it leaves out is the class's, whatever stands outside.
            keys = nested.clone();
            family.ties.settle(&json, &mut keys);
        }
        let place = if nested("text_config").is_some() { "text_config" } else { "(top level)" };
        let text = (family.text)(&keys).map_err(|e| setting(place, e.to_string()))?;
        let vision = match family.vision {
            None => None,
            Some(read) => {
                let none = Map::new();
                let sections = Sections {
                    vision: nested("vision_config").unwrap_or(&none),
                    outer: &json,
                    hidden_size: text.hidden_size,
                };
                let vision = read(&sections).map_err(|e| setting("vision_config", e.to_string()))?;
                if vision.output() != text.hidden_size {
                    let reason =
                        format!("its features are {} wide, `hidden_size` is {}", vision.output(), text.hidden_size);
                    return Err(setting("vision_config", reason));
                }
                Some(vision.into())
            }
        };
        Ok(Self { text, vision, json, family })
    }

    /// What settings call the family's parts.
    pub(crate) fn parts(&self) -> &'static [ModelPart] {
        self.family.parts
    }

    /// The places of what is no language model: of the tower, and of what brings its features there.
    pub fn places_beside_language(&self) -> Vec<&'static str> {
        let beside = self.parts().iter().filter(|(word, ..)| *word != "language");
        let places: Vec<&str> = beside.flat_map(|(_, within, _)| within.iter().copied()).collect();
        let inside = |place: &&str| {
            places.iter().any(|other| place.strip_prefix(other).is_some_and(|rest| rest.starts_with('.')))
        };
        places.iter().copied().filter(|place| !inside(place)).collect()
    }

    /// What the family's files call its parameters.
    pub fn names(&self) -> Names {
        self.family.names
    }

    /// How the weights beside the config are quantised, by its key and what that says, where it says so.
    pub(crate) fn quantization(&self) -> Option<(&'static str, String)> {
        let text = self.json.get("text_config").and_then(Value::as_object);
        let levels = [Some(&self.json), text];
        let keys = ["quantization_config", "compression_config", "quantization"];
        let found = levels.into_iter().flatten().find_map(|level| {
            keys.iter().find_map(|key| Some((*key, level.get(*key).filter(|value| !value.is_null())?)))
        });
        found.map(|(key, said)| {
            let on = |name: &str| said.get(name).and_then(Value::as_bool) == Some(true);
            let method = said.get("quant_method").or_else(|| said.get("quantization_method")).and_then(Value::as_str);
            let method = match method {
                Some(method) => method.to_owned(),
                None if on("load_in_4bit") || on("load_in_8bit") => "bitsandbytes".to_owned(),
                None => said.to_string().chars().take(100).collect(),
            };
            (key, method)
        })
    }

    /// Writes `config.json` into `dir` as it was read, but for the kind of the weights beside it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, dir: &Path, kind: Kind) -> Result<()> {
        let path = dir.join("config.json");
        let mut json = self.json.clone();
        name_kind(&mut json, kind);
        let text = format!("{:#}\n", Value::Object(json));
        std::fs::write(&path, text).map_err(|source| Error::io(path, source))
    }
}

/// Corrects every mention of the weights' kind, at any level: transformers loads weights as the config says, not as the
/// file has them.
fn name_kind(json: &mut Map<String, Value>, kind: Kind) {
    let name = match kind {
        Kind::BFloat16 => "bfloat16",
        Kind::Half => "float16",
        _ => "float32",
    };
    for (key, value) in json {
        match value {
            Value::Object(nested) => name_kind(nested, kind),
            Value::String(old) if ["dtype", "torch_dtype"].contains(&key.as_str()) => name.clone_into(old),
            _ => {}
        }
    }
}
