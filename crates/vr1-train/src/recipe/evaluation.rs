use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{PairSource, PromptConfig};
use crate::Source;

/// Held-out samples and how they are scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// The sets by name.
    pub sets: BTreeMap<String, Source>,
    /// Sets that are asked by another prompt than the recipe's, and that prompt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prompts: BTreeMap<String, PromptConfig>,
    /// How many samples of each set are used, from its start; 0 uses all.
    #[serde(default = "two_hundred")]
    pub samples: usize,
    /// The term of the reward that counts as accuracy.
    #[serde(default = "accuracy")]
    pub metric: String,
    /// A sample counts as right where that term is above this.
    #[serde(default = "half")]
    pub threshold: f64,
    /// The longest answer, in tokens.
    pub max_completion_tokens: usize,
    /// Steps between evaluations during training; 0 has none.
    #[serde(default)]
    pub every_steps: u64,
    /// Answers in stages, each the best of this many beams; the last stage's answer is scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_beams: Option<usize>,
    /// Held-out pairs by name, of rows or written: how often the model finds the chosen answer likelier a token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub preferences: BTreeMap<String, PairSource>,
}

fn two_hundred() -> usize {
    200
}

fn accuracy() -> String {
    "accuracy".to_owned()
}

fn half() -> f64 {
    0.5
}
