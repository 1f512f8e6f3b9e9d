//! What a stage is run with, made of its part of the recipe.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use vr1_learn::Learner;
use vr1_processor::Processor;
use vr1_reward::Program;
use vr1_run::StageScores;
use vr1_vlm::Backbone;

use crate::dpo::Dpo;
use crate::evaluate::Evaluation;
use crate::grpo::{Grpo, Setting};
use crate::kto::Kto;
use crate::recipe::{EvaluationConfig, ObjectiveConfig, PromptConfig, Recipe, StageConfig};
use crate::sft::Sft;
use crate::{Error, Objective, Result};

pub(super) fn learner(
    config: &StageConfig,
    recipe: &Recipe,
    model: Rc<dyn Backbone>,
    processor: &Processor,
) -> Result<Learner> {
    let unreachable = processor.tokenizer().unreachable_ids(model.lm_head().size()[0]);
    Ok(Learner::new(model, config.learner(recipe.tokens_per_micro_batch, recipe.recompute), &unreachable)?)
}

fn asked<'a>(config: &'a StageConfig, recipe: &'a Recipe) -> (&'a PromptConfig, &'a EvaluationConfig) {
    let prompt = config.prompt.as_ref().unwrap_or(&recipe.prompt);
    (prompt, config.evaluation.as_ref().unwrap_or(&recipe.evaluation))
}

pub(super) fn evaluation(config: &StageConfig, recipe: &Recipe) -> Result<Evaluation> {
    let (prompt, evaluation) = asked(config, recipe);
    Evaluation::open(evaluation, prompt, recipe.seed)
}

pub(super) fn setting<'a>(config: &'a StageConfig, recipe: &'a Recipe, reward: &Arc<Program>) -> Setting<'a> {
    let (prompt, evaluation) = asked(config, recipe);
    let solved = (evaluation.metric.clone(), evaluation.threshold);
    Setting { prompt, reward: reward.clone(), solved, seed: recipe.seed, steps: config.steps }
}

/// The objective of a stage: the one place that knows them all.
pub(super) fn objective(config: &StageConfig, recipe: &Recipe, reward: &Arc<Program>) -> Result<Box<dyn Objective>> {
    let setting = setting(config, recipe, reward);
    Ok(match &config.objective {
        ObjectiveConfig::Grpo(grpo) => Box::new(Grpo::new(grpo, &setting)?),
        ObjectiveConfig::Dpo(dpo) => Box::new(Dpo::new(dpo, &setting)?),
        ObjectiveConfig::Kto(kto) => Box::new(Kto::new(kto, setting.seed)?),
        ObjectiveConfig::Sft(sft) => Box::new(Sft::new(sft, setting.seed, setting.steps)?),
    })
}

/// Finds what is wrong with stages to come: it must not show after hours.
pub(super) fn check(
    stages: &[StageConfig],
    recipe: &Recipe,
    reward: &Arc<Program>,
    model: &dyn Backbone,
) -> Result<()> {
    let mut scores = Vec::new();
    for stage in stages {
        objective(stage, recipe, reward)?;
        let evaluation = evaluation(stage, recipe)?;
        scores.extend(evaluation.scores(reward)?);
        if model.train(stage.freeze.as_deref().unwrap_or_default())?.is_empty() {
            return Err(vr1_learn::Error::NothingToTrain.into());
        }
    }
    let asked =
        [("keep_best", recipe.keep_best.as_ref()), ("stop.metric", recipe.stop.as_ref().map(|stop| &stop.metric))];
    for (key, name) in asked.into_iter().filter_map(|(key, name)| Some((key, name?))) {
        if !scores.contains(name) {
            scores.sort();
            scores.dedup();
            return Err(Error::Recipe(format!("{key}: no score {name:?} among {}", scores.join(", "))));
        }
    }
    Ok(())
}

/// What a stage came to.
pub(super) fn scores(config: &StageConfig, steps: u64, scores: BTreeMap<String, f64>) -> StageScores {
    let kind = match &config.objective {
        ObjectiveConfig::Grpo(_) => "grpo",
        ObjectiveConfig::Dpo(_) => "dpo",
        ObjectiveConfig::Kto(_) => "kto",
        ObjectiveConfig::Sft(_) => "sft",
    };
    StageScores { name: config.name.clone().unwrap_or_else(|| kind.to_owned()), steps, scores }
}
