use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use vr1_remote::EngineConfig;
use vr1_rollout::Sampling;

use super::{PairSource, PromptConfig};
use crate::{BenchmarkConfig, Source};

/// Held-out samples and how they are scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// The sets by name.
    pub sets: BTreeMap<String, Source>,
    /// Sets that are asked by another prompt than the recipe's, and that prompt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prompts: BTreeMap<String, PromptConfig>,
    /// Published benchmarks by the names that their scores get.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub benchmarks: BTreeMap<String, BenchmarkConfig>,
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
    /// Divides the logits of answers; 0 takes the likeliest token, and with beams the best of them.
    #[serde(default)]
    pub temperature: f64,
    /// The fewest likeliest tokens whose probabilities reach this sum are drawn from; 1 is no limit.
    #[serde(default = "one")]
    pub top_p: f64,
    /// Steps between evaluations during training; 0 has none.
    #[serde(default)]
    pub every_steps: u64,
    /// Answers in stages, each the best of this many beams; the last stage's answer is scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_beams: Option<usize>,
    /// Held-out pairs by name, of rows or written: how often the model finds the chosen answer likelier a token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub preferences: BTreeMap<String, PairSource>,
    /// Servers that answer held-out samples, with the run's weights; without them, what samples for training does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineConfig>,
}

fn two_hundred() -> usize {
    200
}

fn accuracy() -> String {
    "accuracy".to_owned()
}

fn one() -> f64 {
    1.0
}

fn half() -> f64 {
    0.5
}

impl EvaluationConfig {
    /// How answers are found.
    pub(crate) fn sampling(&self) -> Sampling {
        let (temperature, top_p) = (self.temperature, self.top_p);
        Sampling { temperature, top_p, ..Sampling::greedy(self.max_completion_tokens) }
    }
}
