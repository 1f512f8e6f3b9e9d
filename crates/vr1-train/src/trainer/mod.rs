mod derive;
mod engines;
mod idle;
mod made_of;
mod options;
mod pace;
mod ranks;
mod replay;
mod resume;
mod saved;
mod stage;
mod step;
mod stop;

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use options::RunOptions;
pub use replay::{Difference, Replay};
use serde_json::Value;
use tempfile::TempDir;
use vr1_data::Dataset;
use vr1_nn::Adapter;
use vr1_processor::Processor;
use vr1_reward::Program;
use vr1_rollout::Engine;
use vr1_run::{
    EventWriter, Interrupt, Progress, RunError, RunFolder, Show, StageScores, StepMetrics, Summary, report, write_plots,
};
use vr1_vlm::{Backbone, Model};

use self::idle::Idle;
use self::made_of::MadeOf;
use self::pace::Pace;
use self::resume::named;
use self::saved::{Begun, Origin};
use self::stage::{evaluation, learner, objective, setting};
use self::stop::Patience;
use super::evaluate::Evaluation;
use super::grpo::Setting;
use crate::recipe::{Recipe, StageConfig};
use crate::shown::Gallery;
use crate::watch::Watch;
use crate::{Derivation, Error, Objective, Result, Run};

/// A run by a recipe: its stages one after the other, with a folder that says what happened.
pub struct Trainer {
    recipe: Recipe,
    stages: Vec<StageConfig>,
    run: Run,
    reward: Arc<Program>,
    /// The stage that is under way, and the steps that were taken before it.
    stage: usize,
    before_stage: u64,
    objective: Box<dyn Objective>,
    /// What the objective of a resumed run takes up at its first step.
    resumed: Option<Value>,
    evaluation: Evaluation,
    /// Held-out samples of the user's own.
    held_out: Vec<(String, Arc<dyn Dataset>)>,
    folder: RunFolder,
    events: EventWriter,
    progress: Progress,
    interrupt: Interrupt,
    show: Show,
    done: u64,
    /// What it was begun with, and its scores before the first step.
    beginning: Begun,
    /// Scores after each stage that is over, but for the last.
    over: Vec<StageScores>,
    /// The step of the best evaluation during training, and its score.
    best: Option<(u64, f64)>,
    /// What is known of the score that may end the run.
    patience: Patience,
    /// What the recipe comes to, and how fast it goes.
    derivation: Derivation,
    pace: Pace,
    /// What is known of steps that taught nothing.
    idle: Idle,
    begun: Instant,
    /// Seconds that the run took before it was taken up again.
    earlier: f64,
    /// What was measured in the last step, whose evaluation was not taken yet.
    pending: Option<StepMetrics>,
    /// The step of the last checkpoint, and when it was written.
    saved: (u64, Instant),
    /// What the run came to, where it had ended before it was opened.
    ended: Option<Summary>,
    /// The folder of a rank that is not the first, which is gone with it.
    aside: Option<TempDir>,
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("recipe", &self.recipe.system).field("done", &self.done).finish_non_exhaustive()
    }
}

/// What a trainer begins with.
struct Beginning {
    model: Rc<dyn Backbone>,
    processor: Processor,
    stage: usize,
    before_stage: u64,
    begun: Begun,
}

impl Trainer {
    /// A new run of `recipe` on the model that it names, in a folder that holds none.
    ///
    /// # Errors
    /// If the model, the data, the reward or the run's folder cannot be had; nothing is written before all else is.
    pub fn new(recipe: Recipe, options: RunOptions) -> Result<Self> {
        let (model, processor) = named(&recipe, &options)?;
        Self::begin(recipe, model, processor, &options, Origin::Recipe, RunFolder::create)?.alike()
    }

    /// A run of `recipe` on a model made elsewhere.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn with_model(recipe: Recipe, model: Model, processor: Processor, options: RunOptions) -> Result<Self> {
        Self::begin(recipe, model, processor, &options, Origin::Elsewhere, RunFolder::create)?.alike()
    }

    /// The first step of a run is ahead, in the folder that `folder` makes or empties.
    fn begin(
        recipe: Recipe,
        model: Model,
        processor: Processor,
        options: &RunOptions,
        origin: Origin,
        folder: impl FnOnce(&Path) -> Result<RunFolder, RunError>,
    ) -> Result<Self> {
        model.fits(&processor)?;
        let (options, mut aside) = ranks::aside(options)?;
        let options = &options;
        let model = match &recipe.lora {
            Some(lora) => {
                let settings = lora.config(&model.config().places_beside_language());
                model.with_adapter(Adapter::random(settings, recipe.seed)?)?
            }
            None => model,
        };
        let begun = Begun { origin, made_of: MadeOf::now(&recipe, origin, options)?, ..Begun::default() };
        let written = begun.clone();
        let beginning = Beginning { model: Rc::new(model), processor, stage: 0, before_stage: 0, begun };
        let mut trainer = Self::assemble(recipe, beginning, options, |recipe| {
            let folder = folder(&options.out)?;
            folder.write_beginning(&written)?;
            // From here on the folder holds a run.
            folder.write_config(recipe)?;
            Ok(folder)
        })?;
        trainer.aside = aside.take();
        Ok(trainer)
    }

    fn assemble(
        recipe: Recipe,
        Beginning { model, processor, stage, before_stage, begun }: Beginning,
        options: &RunOptions,
        folder: impl FnOnce(&Recipe) -> Result<RunFolder>,
    ) -> Result<Self> {
        recipe.check().map_err(|(key, reason)| Error::Recipe(format!("`{key}` {reason}")))?;
        if options.check_weights {
            model.parameters().check_finite()?;
        }
        let reward = Program::compile(recipe.reward.clone(), &options.registry)?.tested()?;
        let reward = Arc::new(reward.with_waiting_at_once(recipe.rewards_at_once));
        let stages = recipe.all_stages();
        let Some(config) = stages.get(stage) else {
            return Err(Error::Recipe(format!("there is no stage {stage} among {}", stages.len())));
        };
        let derivation = stage::check((&stages, stage), &recipe, &reward, model.as_ref(), &processor)?;
        let evaluation = evaluation(config, &recipe)?;
        let objective = objective(config, &recipe, &reward)?;
        engines::check(&recipe, options)?;
        let processor = Arc::new(processor);
        let engine = engines::sampling(&recipe, &model, &processor)?;
        let evaluating = engines::evaluating(config, &recipe, model.as_ref(), &processor)?;
        let learner = learner(config, &recipe, model, &processor, &options.world)?;
        let mut run = Run::new(engine, learner, processor, recipe.seed);
        run.evaluate_with(evaluating);
        run.judge_by(options.judge.clone());
        run.allow_staleness(recipe.rollout.max_staleness_steps);
        let watched = (recipe.watchdog_minutes > 0.0).then(|| Duration::from_secs_f64(recipe.watchdog_minutes * 60.0));
        run.watch_by(Watch::new(watched));
        let interrupt = Interrupt::install().unwrap_or_default();
        let folder = folder(&recipe)?;
        let events = EventWriter::create(folder.path(), 1)?;
        let progress = Progress::new(recipe.all_steps(), 0, options.show);
        Ok(Self {
            recipe,
            stages,
            run,
            reward,
            stage,
            before_stage,
            objective,
            resumed: None,
            evaluation,
            held_out: Vec::new(),
            folder,
            events,
            progress,
            interrupt,
            show: options.show,
            done: 0,
            beginning: begun,
            over: Vec::new(),
            best: None,
            patience: Patience::default(),
            derivation,
            pace: Pace::default(),
            idle: Idle::default(),
            begun: Instant::now(),
            earlier: 0.0,
            pending: None,
            saved: (0, Instant::now()),
            ended: None,
            aside: None,
        })
    }

    /// What it does.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The model as it is now.
    pub fn model(&self) -> &dyn Backbone {
        self.run.learner.model().as_ref()
    }

    /// Whether this process tells how the run goes and writes its folder: alone, or the first of several.
    pub fn is_first(&self) -> bool {
        self.run.world().is_first()
    }

    /// Its processor.
    pub fn processor(&self) -> &Processor {
        &self.run.processor
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the objective of the stage that is under way is made with.
    pub fn setting(&self) -> Setting<'_> {
        setting(&self.stages[self.stage], &self.recipe, &self.reward)
    }

    /// Samples with another engine from here on.
    ///
    /// # Errors
    /// If the engine cannot take the weights as they are.
    pub fn set_engine(&mut self, engine: Box<dyn Engine>) -> Result<()> {
        self.run.set_engine(engine);
        self.run.learner.gather_parameters()?;
        let taken = self.run.engine().map(drop);
        self.run.learner.free_parameters()?;
        taken
    }

    /// Learns by another objective in the stage that is under way. In a run that was taken up again, before its first step,
    /// it takes up the state that it had.
    pub fn set_objective(&mut self, objective: Box<dyn Objective>) {
        self.objective = objective;
    }

    /// Evaluates on samples of the user's own, too, or instead of the recipe's set of that name.
    pub fn set_held_out(&mut self, name: &str, samples: Arc<dyn Dataset>) {
        self.evaluation.set(name, samples.clone());
        self.held_out.push((name.to_owned(), samples));
    }

    fn gallery(&self) -> Gallery<'_> {
        Gallery { folder: &self.folder, side: self.recipe.log_pictures }
    }

    fn warn(&self, warnings: &[String]) {
        if self.show != Show::Quiet {
            warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        }
    }

    /// Evaluates, trains, evaluates again, and leaves the folder with checkpoint, summary, plots and report. What a run that
    /// was taken up again had done already is not done again; one that had ended gives its summary.
    ///
    /// After Ctrl-C the step under way is finished and the folder is left whole, with a summary of the steps that were
    /// taken and of no scores after them; opened again, it goes on.
    ///
    /// # Errors
    /// If a step fails. What was learnt before it is saved first, and the folder can be resumed.
    pub fn run(self) -> Result<Summary> {
        let world = self.run.world().clone();
        ranks::together(&world, self.all_of_it())
    }

    fn all_of_it(mut self) -> Result<Summary> {
        let world = self.run.world().clone();
        if world.first(|| Ok::<_, Error>(self.ended.is_some()))? {
            let steps = self.recipe.all_steps();
            let summary = self.ended.take().unwrap_or_else(|| Summary { steps, ..Summary::default() });
            return self.told(summary);
        }
        let folder = self.folder.path().display().to_string();
        self.run.watch().guard(format!("the run in {folder} goes on from its latest checkpoint"));
        self.tell_derivation()?;
        let begun = Instant::now();
        if world.first(|| Ok::<_, Error>(self.done == 0 && self.beginning.before.is_empty()))?
            && let Some(scores) = self.evaluate()?
        {
            self.pace.evaluation = Some(begun.elapsed().as_secs_f64());
            self.beginning.before = scores;
            self.folder.write_beginning(&self.beginning)?;
        }
        while (self.pending.is_some() || self.is_under_way()) && !world.any(self.interrupt.requested())? {
            let stepped = if self.pending.is_some() { self.conclude() } else { self.step().map(Some) };
            if let Ok(Some(step)) = &stepped {
                self.tell_pace(step);
            }
            if let Err(error) = stepped {
                self.progress.finish();
                if self.done > self.saved.0 {
                    let step = self.saved.0;
                    let lost = self
                        .save_what_there_is()
                        .map(|why| format!("what was learnt after step {step} could not be saved: {why}"));
                    self.warn(&Vec::from_iter(lost));
                }
                return Err(error);
            }
        }
        self.progress.finish();
        if self.done > self.saved.0 {
            self.checkpoint()?;
        }
        let after = match self.patience.scores() {
            Some(scores) => scores.clone(),
            None => self.evaluate()?.unwrap_or_default(),
        };
        let mut stages = self.over.clone();
        if self.stages.len() > 1 {
            stages.push(stage::scores(&self.stages[self.stage], self.done - self.before_stage, after.clone()));
        }
        let (before, seconds) = (self.beginning.before.clone(), self.seconds());
        let idle = || self.idle.why(self.recipe.stop_after_idle_steps);
        let stopped = self.patience.why().map(str::to_owned).or_else(idle);
        let warnings = self.idle.told();
        let summary = Summary { before, after, stages, steps: self.done, seconds, stopped, warnings };
        self.folder.write_summary(&summary)?;
        self.told(summary)
    }

    /// Whether there is a step to be taken.
    fn is_under_way(&self) -> bool {
        let ended = self.patience.why().is_some() || self.idle.why(self.recipe.stop_after_idle_steps).is_some();
        self.done < self.recipe.all_steps() && !ended
    }

    /// Leaves plots and report.
    fn told(&self, summary: Summary) -> Result<Summary> {
        self.run.watch().rests();
        if self.run.world().is_first() {
            write_plots(self.folder.path())?;
            report(self.folder.path())?;
        }
        match self.idle.why(self.recipe.stop_after_idle_steps) {
            Some(reason) => Err(Error::Idle { step: self.done, reason }),
            None => Ok(summary),
        }
    }

    fn seconds(&self) -> f64 {
        self.earlier + self.begun.elapsed().as_secs_f64()
    }
}
