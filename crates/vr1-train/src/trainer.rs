use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tch::{Device, Kind};
use vr1_decode::LocalEngine;
use vr1_learn::{Learner, Step};
use vr1_nn::Adapter;
use vr1_processor::Processor;
use vr1_reward::{Program, Registry};
use vr1_rollout::{Engine, Version};
use vr1_run::{EventWriter, Interrupt, Progress, RunError, RunFolder, Show, StepMetrics, Summary, report, write_plots};
use vr1_vlm::{Backbone, Model};

use super::checkpoint::{ADAPTER, Progressed, REFERENCE};
use super::evaluate::Evaluation;
use super::grpo::{Grpo, Setting};
use super::{dpo::Dpo, kto::Kto, sft::Sft};
use crate::recipe::{ObjectiveConfig, Recipe, StageConfig};
use crate::{Error, Objective, Result, Run, Stepped};

/// What a run is told beside its recipe.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The run's folder, which holds no run yet.
    pub out: PathBuf,
    /// Where tensors live.
    pub device: Device,
    /// The parameters' kind of number; optimizer states are f32 whatever it is.
    pub kind: Kind,
    /// Whether progress is shown on stderr.
    pub show: Show,
    /// Verifiers that the recipe's reward may call.
    pub registry: Registry,
}

impl RunOptions {
    /// A run in `out` on the CPU in f32, with the built-in verifiers.
    pub fn new(out: impl Into<PathBuf>) -> Self {
        let (device, kind, show) = (Device::Cpu, Kind::Float, Show::Auto);
        Self { out: out.into(), device, kind, show, registry: Registry::default() }
    }
}

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
    evaluation: Evaluation,
    folder: RunFolder,
    events: EventWriter,
    progress: Progress,
    interrupt: Interrupt,
    show: Show,
    done: u64,
    /// Scores before the first step.
    before: BTreeMap<String, f64>,
    /// The step of the best evaluation during training, and its score.
    best: Option<(u64, f64)>,
    begun: Instant,
    /// Seconds that the run took before it was taken up again.
    earlier: f64,
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
}

impl Trainer {
    /// A run of `recipe` on the model that it names.
    ///
    /// # Errors
    /// If the model, the data, the reward or the run's folder cannot be had; nothing is written before all else is.
    pub fn new(recipe: Recipe, options: RunOptions) -> Result<Self> {
        let dir = vr1_vlm::resolve(&recipe.model)?;
        let model = Model::load(&dir, options.device, options.kind)?;
        let processor = Processor::from_dir(&dir)?;
        Self::with_model(recipe, model, processor, options)
    }

    /// A run of `recipe` on a model made elsewhere.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn with_model(recipe: Recipe, model: Model, processor: Processor, options: RunOptions) -> Result<Self> {
        model.fits(&processor)?;
        let model = match &recipe.lora {
            Some(lora) => model.with_adapter(Adapter::random(lora.config(), recipe.seed)?)?,
            None => model,
        };
        let beginning = Beginning { model: Rc::new(model), processor, stage: 0, before_stage: 0 };
        Self::assemble(recipe, beginning, &options, |recipe| {
            let folder = RunFolder::create(&options.out)?;
            folder.write_config(recipe)?;
            Ok(folder)
        })
    }

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
        let load = |dir: &Path| Model::load(dir, options.device, options.kind);
        let base = || -> Result<Model> { Ok(load(&vr1_vlm::resolve(&recipe.model)?)?) };
        // The weights of a checkpoint have the adapter merged into them; it goes on from the adapter itself.
        let adapted = |dir: &Path| -> Result<Model> { Ok(base()?.with_adapter(Adapter::open(&dir.join(ADAPTER))?)?) };
        let read = |dir: &Path| if recipe.lora.is_some() { adapted(dir) } else { Ok(load(dir)?) };
        let model: Rc<dyn Backbone> = Rc::new(read(&dir)?);
        let reference: Option<Rc<dyn Backbone>> = match (&state.reference, state.before_stage) {
            (None, _) => None,
            (Some(_), _) if dir.join(REFERENCE).is_dir() => Some(Rc::new(read(&dir.join(REFERENCE))?)),
            (Some(_), _) => Some(Rc::new(base()?)),
        };
        let processor = Processor::from_dir(&dir)?;
        let beginning = Beginning { model, processor, stage: state.stage, before_stage: state.before_stage };
        let mut trainer = Self::assemble(recipe, beginning, &options, |_| {
            folder.rewind(step)?;
            Ok(folder)
        })?;
        if let Some(reference) = reference {
            match state.reference.as_deref() {
                Some(MOVED) => trainer.run.learner.set_moved_reference(reference),
                _ => trainer.run.learner.set_reference(reference),
            }
        }
        trainer.run.learner.restore(&dir, Version(step))?;
        trainer.run.engine.load(&trainer.run.learner.snapshot())?;
        trainer.objective.restore(&state.objective)?;
        trainer.events = EventWriter::create(trainer.folder.path(), step + 1)?;
        trainer.progress = Progress::new(trainer.recipe.all_steps(), step, options.show);
        (trainer.done, trainer.before, trainer.earlier) = (step, state.before, state.seconds);
        trainer.best = state.best;
        Ok(trainer)
    }

    fn assemble(
        recipe: Recipe,
        Beginning { model, processor, stage, before_stage }: Beginning,
        options: &RunOptions,
        folder: impl FnOnce(&Recipe) -> Result<RunFolder>,
    ) -> Result<Self> {
        let reward = Arc::new(Program::compile(recipe.reward.clone(), &options.registry)?.tested()?);
        let stages = recipe.all_stages();
        let Some(config) = stages.get(stage) else {
            return Err(Error::Recipe(format!("there is no stage {stage} among {}", stages.len())));
        };
        // A fault of a later stage must not show after hours.
        for later in &stages[stage..] {
            objective(later, &reward, recipe.seed)?;
        }
        let evaluation = evaluation(config, &recipe)?;
        let objective = objective(config, &reward, recipe.seed)?;
        let run = Run {
            engine: Box::new(LocalEngine::new(model.clone(), processor.tokenizer().clone())?),
            learner: learner(config, &recipe, model, &processor)?,
            processor: Arc::new(processor),
            seed: recipe.seed,
        };
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
            evaluation,
            folder,
            events,
            progress,
            interrupt,
            show: options.show,
            done: 0,
            before: BTreeMap::new(),
            best: None,
            begun: Instant::now(),
            earlier: 0.0,
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

    /// Its processor.
    pub fn processor(&self) -> &Processor {
        &self.run.processor
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Samples with another engine from here on.
    ///
    /// # Errors
    /// If the engine cannot take the weights as they are.
    pub fn set_engine(&mut self, mut engine: Box<dyn Engine>) -> Result<()> {
        engine.load(&self.run.learner.snapshot())?;
        self.run.engine = engine;
        Ok(())
    }

    /// Learns by another objective in the stage that is under way.
    pub fn set_objective(&mut self, objective: Box<dyn Objective>) {
        self.objective = objective;
    }

    /// Scores the model on the held-out sets: `in_domain/accuracy` and so on.
    ///
    /// # Errors
    /// If a prompt cannot be made or the engine fails.
    pub fn evaluate(&mut self) -> Result<BTreeMap<String, f64>> {
        self.evaluation.run(&mut self.run, &self.reward, &self.interrupt)
    }

    /// Evaluates, trains, evaluates again, and leaves the folder with checkpoint, summary, plots and report.
    ///
    /// After Ctrl-C the step under way is finished and the folder is left whole, with a summary of the steps that were
    /// taken.
    ///
    /// # Errors
    /// If a step fails. What was learnt before it is saved first, and the folder can be resumed.
    pub fn run(mut self) -> Result<Summary> {
        if self.done == 0 && self.before.is_empty() {
            self.before = self.evaluate()?;
        }
        while self.done < self.recipe.all_steps() && !self.interrupt.requested() {
            if let Err(error) = self.step() {
                self.progress.finish();
                if self.done > 0 {
                    self.checkpoint()?;
                }
                return Err(error);
            }
        }
        self.progress.finish();
        self.checkpoint()?;
        let after = self.evaluate()?;
        let seconds = self.seconds();
        let summary = Summary { before: self.before, after, steps: self.done, seconds };
        self.folder.write_summary(&summary)?;
        write_plots(self.folder.path())?;
        report(self.folder.path())?;
        Ok(summary)
    }

    /// Takes one step and records it: what was measured.
    ///
    /// # Errors
    /// If the step fails; the parameters are then as they were.
    pub fn step(&mut self) -> Result<StepMetrics> {
        let (stage, steps) = (&self.stages[self.stage], self.recipe.all_steps());
        let at = Step { done: self.done - self.before_stage, of: stage.steps };
        let Stepped { mut metrics, rollouts, warnings } = self.run.step(self.objective.as_mut(), at)?;
        self.done += 1;
        if self.stages.len() > 1 {
            metrics.insert("stage".to_owned(), self.stage as f64 + 1.0);
        }
        let mut metrics = StepMetrics { step: self.done, values: metrics };
        if self.show != Show::Quiet {
            warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        }
        if !rollouts.is_empty() {
            self.folder.write_rollouts(self.done, &rollouts)?;
        }
        let every = self.stages[self.stage].evaluation.as_ref().map_or(0, |evaluation| evaluation.every_steps);
        let mut improved = false;
        if every > 0 && self.done.is_multiple_of(every) && self.done < steps {
            let scores = self.evaluate()?;
            improved = self.compare(&scores)?;
            metrics.values.extend(scores);
        }
        self.folder.append_metrics(&metrics)?;
        self.events.write(&metrics)?;
        self.progress.step(&metrics);
        if self.done == self.before_stage + at.of && self.done < steps {
            self.next_stage()?;
        }
        let save = self.recipe.save_every_steps;
        if improved || (save > 0 && self.done.is_multiple_of(save) && self.done < steps) {
            self.checkpoint()?;
        }
        Ok(metrics)
    }

    /// Whether an evaluation is the best so far by the score that the recipe keeps.
    fn compare(&mut self, scores: &BTreeMap<String, f64>) -> Result<bool> {
        let Some(name) = &self.recipe.keep_best else { return Ok(false) };
        let Some(&score) = scores.get(name) else {
            let known = scores.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(Error::Recipe(format!("keep_best: no score {name:?} among {known}")));
        };
        let better = self.best.is_none_or(|(_, best)| score > best);
        if better {
            self.best = Some((self.done, score));
        }
        Ok(better)
    }

    /// Begins the next stage from the weights as they are.
    fn next_stage(&mut self) -> Result<()> {
        (self.stage, self.before_stage) = (self.stage + 1, self.done);
        let config = &self.stages[self.stage];
        self.objective = objective(config, &self.reward, self.recipe.seed)?;
        self.evaluation = evaluation(config, &self.recipe)?;
        let model = self.run.learner.model().clone();
        let mut learner = learner(config, &self.recipe, model, &self.run.processor)?;
        learner.continue_from(Version(self.done));
        if self.objective.compares() {
            // The start of a later stage is not the model that the recipe names.
            learner.renew_reference()?;
        }
        self.run.learner = learner;
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.earlier + self.begun.elapsed().as_secs_f64()
    }

    /// Writes `checkpoints/step-N`: the model and its processor as transformers reads them, and beside them what
    /// [`resume`](Self::resume) needs. Nothing random has a state of its own: all of it follows from seed and step. An
    /// adapter is merged into the model, and stands by itself in `adapter/` as peft reads it; a reference that is not the
    /// recipe's model stands in `reference/`.
    ///
    /// # Errors
    /// If it cannot be written; earlier checkpoints stay.
    pub fn checkpoint(&self) -> Result<PathBuf> {
        let write = |dir: &Path| -> Result<()> {
            let learner = &self.run.learner;
            self.save_model(learner.model().as_ref(), dir)?;
            self.run.processor.save(dir)?;
            learner.save(dir)?;
            if let Some(reference) = learner.moved_reference() {
                let dir = dir.join(REFERENCE);
                make(&dir)?;
                self.save_model(reference.as_ref(), &dir)?;
            }
            let kept = |_: &Rc<dyn Backbone>| if learner.moved_reference().is_some() { MOVED } else { STARTED };
            Progressed {
                step: self.done,
                stage: self.stage,
                before_stage: self.before_stage,
                seconds: self.seconds(),
                before: self.before.clone(),
                best: self.best,
                reference: learner.reference().map(kept).map(str::to_owned),
                objective: self.objective.state(),
            }
            .write(dir)
        };
        let path = self.folder.checkpoint(self.done, write)?;
        if self.recipe.keep_checkpoints > 0 {
            self.folder.prune_checkpoints(self.recipe.keep_checkpoints, self.best.map(|(step, _)| step))?;
        }
        Ok(path)
    }

    fn save_model(&self, model: &dyn Backbone, dir: &Path) -> Result<()> {
        model.save(dir, model.kind())?;
        if model.parameters().adapter().is_some() {
            let adapter = dir.join(ADAPTER);
            make(&adapter)?;
            model.save_adapter(&adapter, Some(&self.recipe.model))?;
        }
        Ok(())
    }
}

/// What a reference is, in a checkpoint: the model that the run began with, or another, which is then beside it.
const STARTED: &str = "start";
const MOVED: &str = "moved";

fn make(dir: &Path) -> Result<()> {
    let io = |source| RunError::Io { action: "create the folder", path: dir.to_owned(), source };
    Ok(std::fs::create_dir_all(dir).map_err(io)?)
}

fn learner(config: &StageConfig, recipe: &Recipe, model: Rc<dyn Backbone>, processor: &Processor) -> Result<Learner> {
    let unreachable = processor.tokenizer().unreachable_ids(model.lm_head().size()[0]);
    Ok(Learner::new(model, config.learner(recipe.tokens_per_micro_batch), &unreachable)?)
}

fn evaluation(config: &StageConfig, recipe: &Recipe) -> Result<Evaluation> {
    let evaluation = config.evaluation.as_ref().unwrap_or(&recipe.evaluation);
    Evaluation::open(evaluation, config.prompt.as_ref().unwrap_or(&recipe.prompt), recipe.seed)
}

/// The objective of a stage: the one place that knows them all.
fn objective(config: &StageConfig, reward: &Arc<Program>, seed: u64) -> Result<Box<dyn Objective>> {
    let missing = || Error::Recipe("a stage has neither prompt nor evaluation".to_owned());
    let prompt = config.prompt.as_ref().ok_or_else(missing)?;
    let evaluation = config.evaluation.as_ref().ok_or_else(missing)?;
    let solved = (evaluation.metric.clone(), evaluation.threshold);
    let setting = Setting { prompt, reward: reward.clone(), solved, seed, steps: config.steps };
    Ok(match &config.objective {
        ObjectiveConfig::Grpo(grpo) => Box::new(Grpo::new(grpo, &setting)?),
        ObjectiveConfig::Dpo(dpo) => Box::new(Dpo::new(dpo, &setting)?),
        ObjectiveConfig::Kto(kto) => Box::new(Kto::new(kto, seed)?),
        ObjectiveConfig::Sft(sft) => Box::new(Sft::new(sft, seed, config.steps)?),
    })
}
