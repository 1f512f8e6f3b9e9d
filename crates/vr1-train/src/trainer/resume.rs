use std::path::Path;
use std::rc::Rc;

use vr1_learn::ReferenceConfig;
use vr1_nn::Adapter;
use vr1_processor::Processor;
use vr1_rollout::Version;
use vr1_run::{EventWriter, Progress, RunFolder};
use vr1_vlm::{Backbone, Model};

use super::saved::{ADAPTER, Origin, Progressed, REFERENCE, Reference};
use super::{Beginning, RunOptions, Trainer};
use crate::recipe::Recipe;
use crate::{Error, Result};

impl Trainer {
    /// The run in `options.out` taken up again at its last checkpoint: from there on it is what it would have been,
    /// had it not stopped.
    ///
    /// # Errors
    /// If the folder holds no run, no checkpoint or a broken one, or a run of another recipe; the first key that differs
    /// is named.
    pub fn resume(recipe: Recipe, options: RunOptions) -> Result<Self> {
        let mut folder = RunFolder::open(&options.out)?;
        recipe.check_same(&folder.config_path())?;
        let nothing = |what: &str| Error::Recipe(format!("{}: {what}", options.out.display()));
        let Some((step, dir)) = folder.latest_checkpoint()? else {
            return Err(nothing("the run was stopped before its first checkpoint; start it again in a new folder"));
        };
        if step >= recipe.all_steps() {
            return Err(nothing("the run has taken all its steps"));
        }
        let state = Progressed::read(&dir)?;
        if state.origin == Origin::Elsewhere && recipe.lora.is_some() {
            return Err(nothing(
                "it began with a model that no recipe names, and its adapter alone is not the whole of it",
            ));
        }
        let model = saved(&dir, &recipe, &options)?;
        let reference = match state.reference {
            None => None,
            Some(Reference::Moved) => Some(saved(&dir.join(REFERENCE), &recipe, &options)?),
            Some(Reference::Start) => Some(start(&recipe, &options)?),
        };
        let processor = Processor::from_dir(&dir)?;
        let (stage, before_stage, origin) = (state.stage, state.before_stage, state.origin);
        let beginning = Beginning { model, processor, stage, before_stage, origin };
        let mut trainer = Self::assemble(recipe, beginning, &options, |_| {
            folder.rewind(step)?;
            Ok(folder)
        })?;
        let learner = &mut trainer.run.learner;
        match (reference, state.reference) {
            (Some(reference), Some(Reference::Moved)) => learner.set_moved_reference(reference),
            (Some(reference), _) => learner.set_reference(reference),
            (None, _) => {}
        }
        learner.restore(&dir, Version(step))?;
        trainer.resumed = Some(state.objective);
        trainer.events = EventWriter::create(trainer.folder.path(), step + 1)?;
        trainer.progress = Progress::new(trainer.recipe.all_steps(), step, options.show);
        (trainer.done, trainer.before, trainer.earlier) = (step, state.before, state.seconds);
        (trainer.over, trainer.best) = (state.over, state.best);
        if trainer.done == trainer.before_stage + trainer.stages[trainer.stage].steps {
            // The stage was over, and the next one could not begin.
            let scores = trainer.evaluate()?;
            trainer.resumed = None;
            trainer.next_stage(scores)?;
        }
        Ok(trainer)
    }
}

/// A model of a checkpoint. Its weights have the adapter merged into them; it goes on from the adapter itself.
fn saved(dir: &Path, recipe: &Recipe, options: &RunOptions) -> Result<Rc<dyn Backbone>> {
    let adapter = dir.join(ADAPTER);
    if !adapter.is_dir() {
        return Ok(Rc::new(Model::load(dir, options.device, options.kind)?));
    }
    Ok(Rc::new(base(recipe, options)?.with_adapter(Adapter::open(&adapter)?)?))
}

/// The model that the recipe names.
fn base(recipe: &Recipe, options: &RunOptions) -> Result<Model> {
    Ok(Model::load(&vr1_vlm::resolve(&recipe.model)?, options.device, options.kind)?)
}

/// The model that the run began with, as its first reference: one that is to move has the adapter that the run began with.
fn start(recipe: &Recipe, options: &RunOptions) -> Result<Rc<dyn Backbone>> {
    let base = base(recipe, options)?;
    let first = recipe.all_stages().into_iter().next().and_then(|stage| stage.reference);
    Ok(match &recipe.lora {
        Some(lora) if first.unwrap_or_default() != ReferenceConfig::Start => {
            Rc::new(base.with_adapter(Adapter::random(lora.config(), recipe.seed)?)?)
        }
        _ => Rc::new(base),
    })
}
