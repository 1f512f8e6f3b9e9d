mod check;
mod evaluation;
mod not_finite;
mod objectives;
mod paths;
mod rollout;
mod same;
mod sharding;
mod stage;
mod stop;

use std::path::Path;

pub use evaluation::EvaluationConfig;
pub use not_finite::{NotFinite, NotFiniteConfig};
pub(crate) use objectives::deck;
pub use objectives::{
    Advantages, DpoObjective, GrpoObjective, KtoObjective, ObjectiveConfig, PairLossConfig, PairSource, SftObjective,
    Truncated, WeightedSource,
};
pub(crate) use paths::of_source;
pub use rollout::{RolloutConfig, ToolKind, ToolsConfig};
pub(crate) use same::first_difference;
use serde::{Deserialize, Serialize};
pub use stage::StageConfig;
pub use stop::{Better, StopConfig};
use vr1_learn::{OptimizerConfig, ReferenceConfig, Sharding};
use vr1_nn::Recompute;
use vr1_processor::{Layout, MediaSettings};
use vr1_reward::ProgramSource;
use vr1_run::Document as Yaml;

use crate::{LoraRecipe, Result};

/// A run, as a YAML file says it: of one stage, whose keys stand at the top, or of several under `stages`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The system that it reproduces, or the name of the run.
    pub system: String,
    /// Where it departs from that system, and why.
    #[serde(default)]
    pub differences: Vec<String>,
    /// A directory (relative to the recipe's own, or to where the program runs) or a Hub id.
    pub model: String,
    /// How large pictures and videos are shown, where that is another than the model's own settings say.
    #[serde(default, skip_serializing_if = "MediaSettings::is_unsaid")]
    pub media: MediaSettings,
    /// Everything random follows from it.
    #[serde(default = "forty_two")]
    pub seed: u64,
    /// Updates of the parameters, where there is one stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// What is learnt from, where there is one stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<ObjectiveConfig>,
    /// Stages that follow each other, each from the weights of the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageConfig>,
    /// What is not trained: a part of the model (`tower`, `merger`, `language`), or places in the tree of names such as
    /// `model.embed_tokens`.
    #[serde(default)]
    pub freeze: Vec<String>,
    /// Adapters that are trained instead of the model's own parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraRecipe>,
    /// Tokens whose gradients are computed at once; the update does not depend on it, but for routers' balance loss. 0: all of a step.
    #[serde(default)]
    pub tokens_per_micro_batch: usize,
    /// What the backward pass computes again instead of keeping it; the update does not depend on it.
    #[serde(default)]
    pub recompute: Recompute,
    /// What the processes of a run hold each a share of, and not each all of; the update does not depend on it, but for the order of sums with
    /// `zero3` and several micro-batches.
    #[serde(default)]
    pub sharding: Sharding,
    /// How completions are decoded.
    #[serde(default)]
    pub rollout: RolloutConfig,
    /// What losses compare with.
    #[serde(default)]
    pub reference: ReferenceConfig,
    /// How a sample becomes a prompt.
    pub prompt: PromptConfig,
    /// What is good: a reward program.
    pub reward: ProgramSource,
    /// The optimizer and its schedule.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// Held-out samples and how they are scored.
    pub evaluation: EvaluationConfig,
    /// Steps between checkpoints; 0 goes by the clock alone.
    #[serde(default)]
    pub save_every_steps: u64,
    /// Minutes between checkpoints; 0 goes by steps alone.
    #[serde(default = "ten")]
    pub save_every_minutes: f64,
    /// How many checkpoints are kept, the latest; 0 keeps all.
    #[serde(default = "two")]
    pub keep_checkpoints: usize,
    /// The score of evaluations during training whose best step is kept beside them, such as `in_domain/accuracy`; it has
    /// a checkpoint of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_best: Option<String>,
    /// Pixels a side of the small pictures that stand beside rollouts, at most; 0 leaves them out.
    #[serde(default = "two_hundred_and_fifty_six")]
    pub log_pictures: u32,
    /// What becomes of a step that is not finite.
    #[serde(default)]
    pub not_finite: NotFiniteConfig,
    /// Steps in a row that teach nothing after which the run ends with an error; 0: it never does.
    #[serde(default)]
    pub stop_after_idle_steps: u64,
    /// Minutes without progress after which a phase of a step is given up; 0 waits for ever.
    #[serde(default = "sixty")]
    pub watchdog_minutes: f64,
    /// Completions that are judged at a time by verifiers that wait for someone else, such as a judge behind a server.
    #[serde(default = "eight")]
    pub rewards_at_once: usize,
    /// Ends the run early where a held-out score gets no better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopConfig>,
}

fn forty_two() -> u64 {
    42
}

fn ten() -> f64 {
    10.0
}

fn two_hundred_and_fifty_six() -> u32 {
    256
}

fn sixty() -> f64 {
    60.0
}

fn eight() -> usize {
    8
}

fn two() -> usize {
    2
}

/// How a sample becomes a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptConfig {
    /// By the chat template, or as it is.
    #[serde(default)]
    pub layout: Layout,
    /// A template of the user's words: `{{ question }}` and the sample's own fields.
    pub text: String,
    /// Words put into the assistant's mouth.
    #[serde(default)]
    pub prefill: String,
}

impl Recipe {
    /// Reads a recipe and applies overrides, each `dotted.key=value`.
    ///
    /// # Errors
    /// An unknown, missing or mistyped key, or a value out of its range, with its place and the nearest right name.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut recipe = Self::checked(&Yaml::read(path, overrides)?)?;
        recipe.resolve(path.parent().unwrap_or(Path::new(".")));
        Ok(recipe)
    }

    /// A recipe that is here already; `name` stands in errors where a file would. Its paths are as they stand.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn read(name: &str, text: &str) -> Result<Self> {
        Self::checked(&Yaml::new(name, text, &[])?)
    }

    fn checked(yaml: &Yaml) -> Result<Self> {
        let recipe: Self = yaml.parse()?;
        recipe.check().map_err(|(key, reason)| yaml.error(&key, reason))?;
        Ok(recipe)
    }

    /// The stages in order, each with what it does not say itself filled in from the top.
    pub fn all_stages(&self) -> Vec<StageConfig> {
        let only = match (&self.objective, self.steps) {
            (Some(objective), Some(steps)) => vec![StageConfig::new(objective.clone(), steps)],
            _ => Vec::new(),
        };
        let fill = |stage: &StageConfig| StageConfig {
            freeze: stage.freeze.clone().or_else(|| Some(self.freeze.clone())),
            optimizer: stage.optimizer.clone().or_else(|| Some(self.optimizer.clone())),
            reference: stage.reference.or(Some(self.reference)),
            prompt: stage.prompt.clone().or_else(|| Some(self.prompt.clone())),
            evaluation: stage.evaluation.clone().or_else(|| Some(self.evaluation.clone())),
            ..stage.clone()
        };
        self.stages.iter().chain(&only).map(fill).collect()
    }

    /// The same without servers: what is recorded answers in their place.
    pub(crate) fn without_servers(mut self) -> Self {
        self.rollout = RolloutConfig { memory_gb: self.rollout.memory_gb, ..RolloutConfig::default() };
        self.evaluation.engine = None;
        self.stages.iter_mut().filter_map(|stage| stage.evaluation.as_mut()).for_each(|own| own.engine = None);
        self
    }

    /// Steps of all stages.
    pub fn all_steps(&self) -> u64 {
        self.all_stages().iter().map(|stage| stage.steps).sum()
    }
}
