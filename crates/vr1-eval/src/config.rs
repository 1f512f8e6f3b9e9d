use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vr1_processor::Layout;
use vr1_rollout::{Sampling, Search};

use crate::extraction::Extraction;
use crate::{Error, Result};

/// What the numbers of a box count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxUnits {
    /// Pixels of the picture as the model saw it, resized: Qwen2.5-VL.
    #[default]
    Seen,
    /// Pixels of the picture as it is.
    Original,
    /// Thousandths of its width and height: Qwen2-VL, Qwen3-VL, InternVL.
    Thousandths,
}

impl BoxUnits {
    /// What the family of a checkpoint directory writes boxes in, by the `model_type` of its `config.json`.
    ///
    /// # Errors
    /// If that file cannot be read.
    pub fn of_checkpoint(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        let text = fs::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let config: Value = serde_json::from_slice(&text)
            .map_err(|error| Error::row(format!("{}: not JSON: {error}", path.display())))?;
        Ok(match config["model_type"].as_str() {
            Some("qwen2_vl" | "qwen3_vl" | "qwen3_vl_moe" | "internvl" | "internvl_chat") => Self::Thousandths,
            _ => Self::Seen,
        })
    }
}

/// Whether a question is asked at once, or in the turns of its stages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turns {
    /// At once.
    #[default]
    One,
    /// In LlamaV-o1's four turns; the answer is what is said in the third and the fourth. Benchmarks whose questions have no
    /// turns are asked at once.
    Staged,
}

/// How a benchmark is asked, read and counted.
#[derive(Debug, Clone)]
pub struct EvalConfig {
    /// How answers are found.
    pub extraction: Extraction,
    /// What the model is told instead of the benchmark's own words: `{question}` stands for the question, with its options.
    pub prompt: Option<String>,
    /// Whether words are put into the chat template.
    pub layout: Layout,
    /// One turn or several.
    pub turns: Turns,
    /// What boxes are written in.
    pub boxes: BoxUnits,
    /// How many questions are asked; 0 asks all. Fewer are drawn by a fixed seed, and are the same every time.
    pub samples: usize,
    /// How tokens are picked.
    pub sampling: Sampling,
    /// The longest prompt that the model takes, in tokens, its answer's room left aside; a longer one is refused by its name.
    pub max_prompt_tokens: Option<usize>,
    /// Whether answers are drawn or searched for.
    pub search: Search,
    /// How many questions are handed to the engine together.
    pub batch: usize,
}

impl Default for EvalConfig {
    /// Robust reading of greedy answers of up to 1024 tokens, to all questions as the benchmark asks them.
    fn default() -> Self {
        Self {
            extraction: Extraction::Robust,
            prompt: None,
            layout: Layout::Chat,
            turns: Turns::One,
            boxes: BoxUnits::Seen,
            samples: 0,
            sampling: Sampling::greedy(1024),
            max_prompt_tokens: None,
            search: Search::Draw,
            batch: 64,
        }
    }
}
