use serde::{Deserialize, Serialize};
use vr1_learn::{LearnerConfig, OptimizerConfig, ReferenceConfig};

use super::{EvaluationConfig, ObjectiveConfig, PromptConfig, Recipe};

/// A stage of a run. What it does not say is as the recipe says at its top.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// What it is called in reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Updates of the parameters.
    pub steps: u64,
    /// What is learnt from.
    pub objective: ObjectiveConfig,
    /// What is not trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Vec<String>>,
    /// The optimizer; each stage begins with fresh moments, and its schedule runs over the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<OptimizerConfig>,
    /// What losses compare with; the start is the stage's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceConfig>,
    /// How a sample becomes a prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptConfig>,
    /// How it is evaluated while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<EvaluationConfig>,
}

impl StageConfig {
    /// A stage of nothing but this.
    pub fn new(objective: ObjectiveConfig, steps: u64) -> Self {
        let (name, freeze, optimizer, reference) = (None, None, None, None);
        Self { name, steps, objective, freeze, optimizer, reference, prompt: None, evaluation: None }
    }

    /// Whether it says itself what stands under `key` or above it.
    pub(super) fn says(&self, key: &str) -> bool {
        match key.split('.').next() {
            Some("freeze") => self.freeze.is_some(),
            Some("optimizer") => self.optimizer.is_some(),
            Some("reference") => self.reference.is_some(),
            Some("prompt") => self.prompt.is_some(),
            Some("evaluation") => self.evaluation.is_some(),
            _ => true,
        }
    }

    /// How its learner learns in a run of `recipe`.
    pub(crate) fn learner(&self, recipe: &Recipe) -> LearnerConfig {
        let iterations = match &self.objective {
            ObjectiveConfig::Grpo(grpo) => grpo.iterations,
            ObjectiveConfig::Dpo(_) | ObjectiveConfig::Kto(_) | ObjectiveConfig::Sft(_) => 1,
        };
        LearnerConfig {
            freeze: self.freeze.clone().unwrap_or_default(),
            optimizer: self.optimizer.clone().unwrap_or_default(),
            tokens_per_micro_batch: recipe.tokens_per_micro_batch,
            recompute: recipe.recompute,
            sharding: recipe.sharding,
            iterations,
            reference: self.reference.unwrap_or_default(),
        }
    }
}
