//! What a stage is run with, made of its part of the recipe.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use vr1_learn::{Learner, World};
use vr1_processor::Processor;
use vr1_reward::Program;
use vr1_run::StageScores;
use vr1_vlm::Backbone;

use super::derive::{of_stages, stage_of};
use crate::dpo::Dpo;
use crate::evaluate::Evaluation;
use crate::grpo::{Grpo, Setting};
use crate::kto::Kto;
use crate::recipe::{EvaluationConfig, ObjectiveConfig, PromptConfig, Recipe, StageConfig};
use crate::sft::Sft;
use crate::{Derivation, Error, Objective, Result};

pub(super) fn learner(
    config: &StageConfig,
    recipe: &Recipe,
    model: Rc<dyn Backbone>,
    processor: &Processor,
    world: &World,
) -> Result<Learner> {
    let unreachable = processor.tokenizer().unreachable_ids(model.lm_head().size()[0]);
    Ok(Learner::in_world(model, config.learner(recipe), &unreachable, world.clone())?)
}

fn asked<'a>(config: &'a StageConfig, recipe: &'a Recipe) -> (&'a PromptConfig, &'a EvaluationConfig) {
    let prompt = config.prompt.as_ref().unwrap_or(&recipe.prompt);
    (prompt, config.evaluation.as_ref().unwrap_or(&recipe.evaluation))
}

pub(super) fn evaluation(config: &StageConfig, recipe: &Recipe) -> Result<Evaluation> {
    let (prompt, evaluation) = asked(config, recipe);
    Evaluation::open(evaluation, prompt, (recipe.seed, &recipe.model))
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

/// Finds what is wrong with the stages from `first` on, which must not show after hours, and says what they come to.
pub(super) fn check(
    (stages, first): (&[StageConfig], usize),
    recipe: &Recipe,
    reward: &Arc<Program>,
    model: &dyn Backbone,
    processor: &Processor,
) -> Result<Derivation> {
    let (mut scores, mut derived) = (Vec::new(), Vec::new());
    for (number, stage) in stages.iter().enumerate().skip(first) {
        let objective = objective(stage, recipe, reward)?;
        let evaluation = evaluation(stage, recipe)?;
        scores.extend(evaluation.scores(reward)?);
        derived.push(stage_of(recipe, stages, number, objective.as_ref(), &evaluation, processor));
        let trained = model.train(stage.freeze.as_deref().unwrap_or_default())?;
        if trained.is_empty() {
            return Err(vr1_learn::Error::NothingToTrain.into());
        }
        if let Some(optimizer) = &stage.optimizer {
            optimizer.check_groups(trained.iter().map(|(name, _)| name.as_str()), |name| model.part(name))?;
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
    Ok(of_stages(recipe, derived))
}

/// What a stage is called.
pub(super) fn name(config: &StageConfig) -> String {
    let kind = match &config.objective {
        ObjectiveConfig::Grpo(_) => "grpo",
        ObjectiveConfig::Dpo(_) => "dpo",
        ObjectiveConfig::Kto(_) => "kto",
        ObjectiveConfig::Sft(_) => "sft",
    };
    config.name.clone().unwrap_or_else(|| kind.to_owned())
}

/// What a stage came to.
pub(super) fn scores(config: &StageConfig, steps: u64, scores: BTreeMap<String, f64>) -> StageScores {
    StageScores { name: name(config), steps, scores }
}
