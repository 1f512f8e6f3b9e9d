//! Which engines a recipe samples and evaluates with.

use std::rc::Rc;

use vr1_decode::LocalEngine;
use vr1_processor::Processor;
use vr1_remote::{EngineConfig, Purpose, ServerEngine};
use vr1_rollout::Engine;
use vr1_vlm::Backbone;

use crate::Result;
use crate::recipe::{Recipe, StageConfig};

/// What samples completions to learn from.
pub(super) fn sampling(recipe: &Recipe, model: &Rc<dyn Backbone>, processor: &Processor) -> Result<Box<dyn Engine>> {
    if let Some(config) = &recipe.rollout.engine {
        return servers(config, model.as_ref(), processor, Purpose::Training);
    }
    let engine = LocalEngine::new(model.clone(), processor.tokenizer().clone())?;
    Ok(Box::new(match recipe.rollout.memory_bytes() {
        Some(bytes) => engine.with_memory(bytes),
        None => engine,
    }))
}

/// What answers held-out samples in a stage, where that is another.
pub(super) fn evaluating(
    config: &StageConfig,
    recipe: &Recipe,
    model: &dyn Backbone,
    processor: &Processor,
) -> Result<Option<Box<dyn Engine>>> {
    let evaluation = config.evaluation.as_ref().unwrap_or(&recipe.evaluation);
    evaluation.engine.as_ref().map(|config| servers(config, model, processor, Purpose::Reading)).transpose()
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
