//! Which engines a recipe samples and evaluates with, and who judges.

use std::rc::Rc;
use std::sync::Arc;

use vr1_agent::ToolEngine;
use vr1_decode::LocalEngine;
use vr1_learn::Sharding;
use vr1_processor::Processor;
use vr1_remote::{EngineConfig, Purpose, ServerEngine};
use vr1_rollout::Engine;
use vr1_vlm::Backbone;

use crate::recipe::{Recipe, StageConfig};
use crate::{Error, Result, RunOptions};

/// Checks that the language model is there that benchmarks are to ask.
pub(super) fn check(recipe: &Recipe, options: &RunOptions) -> Result<()> {
    let stages = recipe.all_stages();
    let evaluations = stages.iter().filter_map(|stage| stage.evaluation.as_ref()).chain([&recipe.evaluation]);
    let mut benchmarks = evaluations.flat_map(|evaluation| &evaluation.benchmarks);
    match (benchmarks.find(|(_, benchmark)| benchmark.judge), &options.judge) {
        (Some((name, _)), None) => {
            let reason = "the run was given no judge: VR1_JUDGE_URL and VR1_JUDGE_MODEL name one";
            Err(Error::Recipe(format!("evaluation.benchmarks.{name}.judge: {reason}")))
        }
        _ => Ok(()),
    }
}

/// What samples completions to learn from.
pub(super) fn sampling(
    recipe: &Recipe,
    model: &Rc<dyn Backbone>,
    processor: &Arc<Processor>,
) -> Result<Box<dyn Engine>> {
    let engine = match (&recipe.rollout.engine, recipe.rollout.memory_bytes()) {
        (Some(config), _) => servers(config, model.as_ref(), processor, Purpose::Training)?,
        (None, bytes) => {
            let (own, tokenizer) = (model.clone(), processor.tokenizer().clone());
            let engine = match recipe.sharding {
                // Weights that are not here are handed over before anything is asked for.
                Sharding::Zero3 => LocalEngine::before_load(own, tokenizer),
                Sharding::None | Sharding::Zero2 => LocalEngine::new(own, tokenizer)?,
            };
            Box::new(match bytes {
                Some(bytes) => engine.with_memory(bytes),
                None => engine,
            })
        }
    };
    Ok(calling(engine, recipe, model.as_ref(), processor))
}

/// The engine, with the recipe's tools.
fn calling(
    engine: Box<dyn Engine>,
    recipe: &Recipe,
    model: &dyn Backbone,
    processor: &Arc<Processor>,
) -> Box<dyn Engine> {
    match &recipe.rollout.tools {
        Some(config) => {
            Box::new(ToolEngine::new(engine, processor.clone(), config.tools(), config.max_calls, model.max_tokens()))
        }
        None => engine,
    }
}

/// What answers held-out samples in a stage, where that is another.
pub(super) fn evaluating(
    config: &StageConfig,
    recipe: &Recipe,
    model: &dyn Backbone,
    processor: &Arc<Processor>,
) -> Result<Option<Box<dyn Engine>>> {
    let evaluation = config.evaluation.as_ref().unwrap_or(&recipe.evaluation);
    let Some(config) = &evaluation.engine else { return Ok(None) };
    Ok(Some(calling(servers(config, model, processor, Purpose::Reading)?, recipe, model, processor)))
}

fn servers(
    config: &EngineConfig,
    model: &dyn Backbone,
    processor: &Processor,
    purpose: Purpose,
) -> Result<Box<dyn Engine>> {
    let rows = model.lm_head().size()[0];
    Ok(Box::new(ServerEngine::open(config.clone(), processor.tokenizer().clone(), rows, purpose)?))
}
