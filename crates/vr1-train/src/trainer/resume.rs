use std::path::Path;
use std::rc::Rc;

use vr1_learn::{ReferenceConfig, Sharding};
use vr1_nn::Adapter;
use vr1_processor::Processor;
use vr1_rollout::Version;
use vr1_run::{EventWriter, Progress, RunFolder};
use vr1_vlm::{Backbone, Model};

use super::made_of::{Accepted, MadeOf};
use super::ranks::{self, Start};
use super::saved::{ADAPTER, Begun, Origin, Progressed, REFERENCE, Reference};
use super::{Beginning, RunOptions, Trainer};
use crate::recipe::Recipe;
use crate::{Error, Result};

impl Trainer {
    /// The run of `recipe` in `options.out`, wherever it stands: a new one where there is none, else as [`resume`](Self::resume).
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`resume`](Self::resume).
    pub fn open(recipe: Recipe, options: RunOptions) -> Result<Self> {
        let world = options.world.clone();
        ranks::begun(&world, Self::open_together(recipe, &options))
    }

    fn open_together(recipe: Recipe, options: &RunOptions) -> Result<Self> {
        let world = options.world.clone();
        if !world.is_alone() {
            ranks::check_alike(&world, &recipe, options)?;
        }
        let mut opened = None;
        let start = world.first(|| {
            let trainer = match RunFolder::holds_run(&options.out) {
                true => Self::take_up(recipe.clone(), options)?,
                false => {
                    let (model, processor) = named(&recipe, options)?;
                    Self::begin(recipe.clone(), model, processor, options, Origin::Recipe, RunFolder::create)?
                }
            };
            let start = Start { out: options.out.clone(), step: trainer.done };
            opened = Some(trainer);
            Ok::<_, Error>(start)
        })?;
        match opened {
            Some(trainer) => trainer.alike(),
            None => Self::follow(recipe, options, &start)?.alike(),
        }
    }

    /// The same run on another rank than the first, which has begun at `start`.
    fn follow(recipe: Recipe, options: &RunOptions, start: &Start) -> Result<Self> {
        let Start { out, step } = start;
        if *step == 0 {
            let (model, processor) = named(&recipe, options)?;
            return Self::begin(recipe, model, processor, options, Origin::Recipe, RunFolder::create);
        }
        let (options, aside) = ranks::aside(options)?;
        let begun: Begun = RunFolder::beginning_of(out)?.unwrap_or_default();
        let checkpoint = RunFolder::checkpoint_of(out, *step);
        let mut trainer = Self::go_on(recipe, &options, (*step, &checkpoint), RunFolder::create(&options.out)?, begun)?;
        trainer.aside = aside;
        Ok(trainer)
    }

    /// The run in `options.out` taken up again: from there on it is what it would have been, had it not stopped. It goes on
    /// from the checkpoint that is asked for, else from the latest that is whole; what is wrong with a later one is told. A run
    /// that has none begins again, and one that had ended gives its summary.
    ///
    /// # Errors
    /// If the folder holds no run, a broken one, or a run of another recipe; the first key that differs is named. If its data, its model
    /// or this program are not what it was begun with, and the options do not accept that; all that is another is named.
    pub fn resume(recipe: Recipe, options: RunOptions) -> Result<Self> {
        if !RunFolder::holds_run(&options.out) {
            RunFolder::open(&options.out)?;
        }
        Self::open(recipe, options)
    }

    fn take_up(recipe: Recipe, options: &RunOptions) -> Result<Self> {
        let mut folder = RunFolder::open(&options.out)?;
        recipe.check_same(&folder.config_path())?;
        let begun: Begun = folder.beginning()?.unwrap_or_default();
        let known = begun.accepted.len();
        let (checkpoint, damaged) = folder.whole_checkpoint(options.from)?;
        let mut trainer = match checkpoint {
            Some((step, dir)) => Self::go_on(recipe, options, (step, &dir), folder, begun)?,
            None if begun.origin == Origin::Elsewhere => {
                return Err(Error::Recipe(format!(
                    "{}: the run was stopped before its first checkpoint, and began with a model that no recipe names; start it \
                     again in a new folder",
                    options.out.display()
                )));
            }
            None => {
                let begun = same(&recipe, options, 0, begun)?;
                let (model, processor) = named(&recipe, options)?;
                let mut trainer = Self::begin(recipe, model, processor, options, Origin::Recipe, |_| {
                    folder.rewind(0)?;
                    Ok(folder)
                })?;
                trainer.folder.write_beginning(&begun)?;
                trainer.beginning = begun;
                trainer
            }
        };
        let mut told: Vec<String> =
            damaged.iter().map(|what| format!("a later checkpoint is not whole: {what}")).collect();
        for accepted in trainer.beginning.accepted.iter().skip(known) {
            told.push(format!("the run goes on with something else: {}", accepted.changed.join("; ")));
        }
        if trainer.done > 0 && !damaged.is_empty() {
            told.push(format!("going on from step {}", trainer.done));
        }
        let recorded = trainer.done - u64::from(trainer.pending.is_some());
        told.extend(trainer.folder.lacking(recorded)?);
        trainer.warn(&told);
        let over = !trainer.is_under_way();
        if options.from.is_none() && over {
            trainer.ended = trainer.folder.summary()?.filter(|summary| summary.steps == trainer.done);
        }
        Ok(trainer)
    }

    pub(super) fn go_on(
        recipe: Recipe,
        options: &RunOptions,
        at: (u64, &Path),
        mut folder: RunFolder,
        begun: Begun,
    ) -> Result<Self> {
        let (step, dir) = at;
        let state = Progressed::read(dir)?;
        let begun = Begun { origin: state.origin, made_of: state.made_of, before: state.before, ..begun };
        let begun = same(&recipe, options, step, begun)?;
        if state.origin == Origin::Elsewhere && recipe.lora.is_some() {
            return Err(Error::Recipe(format!(
                "{}: it began with a model that no recipe names, and its adapter alone is not the whole of it",
                options.out.display()
            )));
        }
        let model = saved(dir, &recipe, options, load)?;
        let reference = match state.reference {
            None => None,
            Some(Reference::Moved) => Some(saved(&dir.join(REFERENCE), &recipe, options, whole)?),
            Some(Reference::Start) => Some(start(&recipe, options)?),
        };
        let processor = Processor::from_dir(dir)?.with_media(&recipe.media)?;
        let (stage, before_stage, written) = (state.stage, state.before_stage, begun.clone());
        let beginning = Beginning { model, processor, stage, before_stage, begun };
        // The row of a step whose evaluation is to come is written with it.
        let recorded = step - u64::from(state.pending.is_some());
        let mut trainer = Self::assemble(recipe, beginning, options, |_| {
            folder.rewind(recorded)?;
            folder.write_beginning(&written)?;
            Ok(folder)
        })?;
        let learner = &mut trainer.run.learner;
        match (reference, state.reference) {
            (Some(reference), Some(Reference::Moved)) => learner.set_moved_reference(reference),
            (Some(reference), _) => learner.set_reference(reference),
            (None, _) => {}
        }
        learner.restore(dir, Version(step))?;
        trainer.resumed = Some(state.objective);
        trainer.events = EventWriter::create(trainer.folder.path(), recorded + 1)?;
        trainer.progress = Progress::new(trainer.recipe.all_steps(), recorded, options.show);
        (trainer.done, trainer.earlier) = (step, state.seconds);
        (trainer.over, trainer.best, trainer.pending) = (state.over, state.best, state.pending);
        trainer.patience = state.patience;
        trainer.idle = state.idle;
        trainer.saved.0 = step;
        Ok(trainer)
    }
}

/// What a run was begun with, where that is what there is now, or what is another is accepted, and then written down.
pub(super) fn same(recipe: &Recipe, options: &RunOptions, step: u64, mut begun: Begun) -> Result<Begun> {
    let now = MadeOf::now(recipe, begun.origin, options)?;
    let changed = begun.made_of.changed(&now);
    if changed.is_empty() {
        return Ok(begun);
    }
    if !options.accept_changes {
        return Err(Error::Changed { path: options.out.clone(), changed });
    }
    begun.accepted.push(Accepted { after_step: step, changed });
    Ok(Begun { made_of: now, ..begun })
}

/// Reads a model from a directory.
type Load = fn(&Path, &Recipe, &RunOptions) -> Result<Model>;

/// The model of a run, of which this process keeps its share where layers lie apart.
fn load(dir: &Path, recipe: &Recipe, options: &RunOptions) -> Result<Model> {
    let RunOptions { device, kind, world, .. } = options;
    Ok(match recipe.sharding == Sharding::Zero3 && !world.is_alone() {
        true => Model::load_share(dir, *device, *kind, (world.rank(), world.size()))?,
        false => Model::load(dir, *device, *kind)?,
    })
}

/// One that all processes hold whole.
fn whole(dir: &Path, _: &Recipe, options: &RunOptions) -> Result<Model> {
    Ok(Model::load(dir, options.device, options.kind)?)
}

/// A model of a checkpoint. Its weights have the adapter merged into them; it goes on from the adapter itself.
fn saved(dir: &Path, recipe: &Recipe, options: &RunOptions, load: Load) -> Result<Rc<dyn Backbone>> {
    let adapter = dir.join(ADAPTER);
    if !adapter.is_dir() {
        return Ok(Rc::new(load(dir, recipe, options)?));
    }
    let base = load(&vr1_vlm::resolve(&recipe.model)?, recipe, options)?;
    Ok(Rc::new(base.with_adapter(Adapter::open(&adapter)?)?))
}

/// The model that the run began with, as its first reference: one that is to move has the adapter that the run began with.
fn start(recipe: &Recipe, options: &RunOptions) -> Result<Rc<dyn Backbone>> {
    let base = whole(&vr1_vlm::resolve(&recipe.model)?, recipe, options)?;
    let places = base.config().places_beside_language();
    let first = recipe.all_stages().into_iter().next().and_then(|stage| stage.reference);
    Ok(match &recipe.lora {
        Some(lora) if first.unwrap_or_default() != ReferenceConfig::Start => {
            Rc::new(base.with_adapter(Adapter::random(lora.config(&places), recipe.seed)?)?)
        }
        _ => Rc::new(base),
    })
}

/// The model that the recipe names, and its processor.
pub(super) fn named(recipe: &Recipe, options: &RunOptions) -> Result<(Model, Processor)> {
    let dir = vr1_vlm::resolve(&recipe.model)?;
    Ok((load(&dir, recipe, options)?, Processor::from_dir(&dir)?.with_media(&recipe.media)?))
}
