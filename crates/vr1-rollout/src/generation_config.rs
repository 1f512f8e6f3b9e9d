use std::path::Path;

use serde::Deserialize;

use crate::{Error, Result, Sampling};

/// What a checkpoint's `generation_config.json` says of sampling. Its stop ids are the tokenizer's
/// ([`Tokenizer::eos`](vr1_processor::Tokenizer::eos)).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct GenerationConfig {
    /// See [`Sampling::top_k`].
    pub top_k: Option<i64>,
    /// See [`Sampling::top_p`].
    pub top_p: Option<f64>,
    /// See [`Sampling::min_p`].
    pub min_p: Option<f64>,
    /// See [`Sampling::repetition_penalty`].
    pub repetition_penalty: Option<f64>,
}

impl GenerationConfig {
    /// Reads the file in a checkpoint directory; where there is none, it says nothing.
    ///
    /// # Errors
    /// If the file cannot be read or a value is of the wrong kind or out of its range.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let path = dir.join("generation_config.json");
        let fault = |reason: String| Error::GenerationConfig { path: path.clone(), reason };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(fault(e.to_string())),
        };
        let config: Self = serde_json::from_str(&text).map_err(|e| fault(e.to_string()))?;
        config.over(Sampling::default()).validate().map_err(|e| fault(e.to_string()))?;
        Ok(config)
    }

    /// `sampling` with what the file says in its place.
    pub fn over(&self, sampling: Sampling) -> Sampling {
        Sampling {
            top_k: self.top_k.unwrap_or(sampling.top_k),
            top_p: self.top_p.unwrap_or(sampling.top_p),
            min_p: self.min_p.unwrap_or(sampling.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(sampling.repetition_penalty),
            ..sampling
        }
    }
}
