use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};
use vr1_curriculum::Curriculum;
use vr1_nn::Adapter;
use vr1_processor::Processor;
use vr1_reward::{Program, Registry};
use vr1_run::{EventWriter, Interrupt, Progress, RunError, RunFolder, Show, StepMetrics, Summary, report, write_plots};
use vr1_vlm::Model;

use crate::document::Document;
use crate::evaluate::Evaluation;
use crate::grpo::{Grpo, RolloutRecord};
use crate::sft::{Corpus, sft_step};
use crate::{Error, Objective, Optimizer, Recipe, Result, SftObjective};

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

/// A run: a model, its optimizer and what they are trained on, with a folder that says what happened.
pub struct Trainer {
    recipe: Recipe,
    model: Model,
    processor: Processor,
    optimizer: Optimizer,
    update: Update,
    reward: Program,
    evaluation: Evaluation,
    folder: RunFolder,
    events: EventWriter,
    progress: Progress,
    interrupt: Interrupt,
    done: u64,
    /// Scores before the first step.
    before: BTreeMap<String, f64>,
    begun: Instant,
    /// Seconds that the run took before it was taken up again.
    earlier: f64,
}

/// What a checkpoint says beside weights and optimizer: the file `trainer_state.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progressed {
    step: u64,
    seconds: f64,
    before: BTreeMap<String, f64>,
    curriculum: vr1_curriculum::State,
}

const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "trainer_state.json";
const ADAPTER: &str = "adapter";

impl Progressed {
    fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(STATE);
        let broken = |reason: String| Error::State { path: path.clone(), reason };
        let text = std::fs::read(&path).map_err(|error| broken(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(STATE);
        let broken = |reason: String| Error::State { path: path.clone(), reason };
        let text = serde_json::to_vec_pretty(self).map_err(|error| broken(error.to_string()))?;
        std::fs::write(&path, text).map_err(|error| broken(error.to_string()))
    }
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("recipe", &self.recipe.system).field("done", &self.done).finish_non_exhaustive()
    }
}

enum Update {
    Grpo(Box<Grpo>),
    Sft { corpus: Corpus, curriculum: Box<dyn Curriculum>, config: SftObjective },
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
        let model = match &recipe.lora {
            Some(lora) => model.with_adapter(Adapter::random(lora.config(), recipe.seed)?)?,
            None => model,
        };
        let reference = if recipe.compares_with_a_reference() { Some(model.copy()?) } else { None };
        Self::assemble(recipe, model, processor, reference, &options, |recipe| {
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
        if step >= recipe.steps {
            return Err(nothing("the run has taken all its steps"));
        }
        let state = Progressed::read(&dir)?;
        let base =
            || -> Result<Model> { Ok(Model::load(&vr1_vlm::resolve(&recipe.model)?, options.device, options.kind)?) };
        // The weights of a checkpoint have the adapter merged into them; it goes on from the adapter itself.
        let model = match recipe.lora {
            Some(_) => base()?.with_adapter(Adapter::open(&dir.join(ADAPTER))?)?,
            None => Model::load(&dir, options.device, options.kind)?,
        };
        let reference = if recipe.compares_with_a_reference() { Some(base()?) } else { None };
        let processor = Processor::from_dir(&dir)?;
        let mut trainer = Self::assemble(recipe, model, processor, reference, &options, |_| {
            folder.rewind(step)?;
            Ok(folder)
        })?;
        trainer.optimizer.restore(&dir.join(OPTIMIZER))?;
        if let Update::Sft { curriculum, .. } = &mut trainer.update {
            curriculum.restore(&state.curriculum)?;
        }
        trainer.events = EventWriter::create(trainer.folder.path(), step + 1)?;
        trainer.progress = Progress::new(trainer.recipe.steps, step, options.show);
        (trainer.done, trainer.before, trainer.earlier) = (step, state.before, state.seconds);
        Ok(trainer)
    }

    fn assemble(
        recipe: Recipe,
        model: Model,
        processor: Processor,
        reference: Option<Model>,
        options: &RunOptions,
        folder: impl FnOnce(&Recipe) -> Result<RunFolder>,
    ) -> Result<Self> {
        model.check(&processor)?;
        let reward = Program::compile(recipe.reward.clone(), &options.registry)?.tested()?;
        let evaluation = Evaluation::open(&recipe.evaluation, &recipe.prompt, recipe.seed)?;
        let update = match &recipe.objective {
            Objective::Grpo(grpo) => {
                let grpo = Grpo::new(grpo, &recipe.prompt, reward.clone(), recipe.seed, reference)?;
                Update::Grpo(Box::new(grpo))
            }
            Objective::Sft(sft) => {
                let corpus = corpus(sft, recipe.seed)?;
                let curriculum = sft.curriculum.build(corpus.stages(), recipe.steps)?;
                Update::Sft { corpus, curriculum, config: sft.clone() }
            }
        };
        let optimizer = Optimizer::new(model.train(&recipe.freeze)?, recipe.optimizer.clone())?;
        let interrupt = Interrupt::install().unwrap_or_default();
        let folder = folder(&recipe)?;
        let events = EventWriter::create(folder.path(), 1)?;
        let progress = Progress::new(recipe.steps, 0, options.show);
        Ok(Self {
            recipe,
            model,
            processor,
            optimizer,
            update,
            reward,
            evaluation,
            folder,
            events,
            progress,
            interrupt,
            done: 0,
            before: BTreeMap::new(),
            begun: Instant::now(),
            earlier: 0.0,
        })
    }

    /// What it does.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The model as it is now.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Its processor.
    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Scores the model on the held-out sets: `in_domain/accuracy` and so on.
    ///
    /// # Errors
    /// If a prompt cannot be made or an answer cannot be scored.
    pub fn evaluate(&self) -> Result<BTreeMap<String, f64>> {
        self.evaluation.run(&self.model, &self.processor, &self.reward, &self.interrupt)
    }

    /// Evaluates, trains, evaluates again, and leaves the folder with checkpoint, summary, plots and report.
    ///
    /// After Ctrl-C the step under way is finished and the folder is left whole, with a summary of the steps that were
    /// taken.
    ///
    /// # Errors
    /// If a step fails; the folder keeps what was done before it.
    pub fn run(mut self) -> Result<Summary> {
        if self.done == 0 {
            self.before = self.evaluate()?;
        }
        while self.done < self.recipe.steps && !self.interrupt.requested() {
            self.step()?;
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
        let (step, steps) = (self.done, self.recipe.steps);
        // An adapter's dropout is drawn by libtorch: a function of the seed and the step.
        tch::manual_seed(self.recipe.seed.wrapping_add(step << 32) as i64);
        let (values, rollouts) = match &mut self.update {
            Update::Grpo(grpo) => grpo.step(&self.model, &self.processor, &mut self.optimizer, (step, steps))?,
            Update::Sft { corpus, curriculum, config } => {
                let begun = Instant::now();
                let stages = curriculum.weights(step);
                let documents = corpus.batch(step, config.documents_per_step, &stages, &self.processor)?;
                let mut values = sft_step(&self.model, &documents, config.documents_per_micro_batch)?;
                values.insert("grad_norm".to_owned(), self.optimizer.step(step, steps)?);
                values.insert("learning_rate".to_owned(), self.optimizer.learning_rate(step, steps));
                let seconds = begun.elapsed().as_secs_f64();
                values.insert("tokens_per_second".to_owned(), values["tokens"] / seconds);
                values.insert("seconds".to_owned(), seconds);
                (values, Vec::<RolloutRecord>::new())
            }
        };
        self.done += 1;
        let mut metrics = StepMetrics { step: self.done, values };
        if !rollouts.is_empty() {
            self.folder.write_rollouts(self.done, &rollouts)?;
        }
        let every = self.recipe.evaluation.every_steps;
        if every > 0 && self.done.is_multiple_of(every) && self.done < steps {
            metrics.values.extend(self.evaluate()?);
        }
        self.folder.append_metrics(&metrics)?;
        self.events.write(&metrics)?;
        self.progress.step(&metrics);
        let save = self.recipe.save_every_steps;
        if save > 0 && self.done.is_multiple_of(save) && self.done < steps {
            self.checkpoint()?;
        }
        Ok(metrics)
    }

    fn seconds(&self) -> f64 {
        self.earlier + self.begun.elapsed().as_secs_f64()
    }

    /// Writes `checkpoints/step-N`: the model and its processor as transformers reads them, and beside them what
    /// [`resume`](Self::resume) needs. Nothing random has a state of its own: all of it follows from seed and step. An
    /// adapter is merged into the model, and stands by itself in `adapter/` as peft reads it.
    ///
    /// # Errors
    /// If it cannot be written; earlier checkpoints stay.
    pub fn checkpoint(&self) -> Result<PathBuf> {
        let write = |dir: &Path| -> Result<()> {
            self.model.save(dir, self.model.kind())?;
            self.processor.save(dir)?;
            if self.model.parameters().adapter().is_some() {
                let adapter = dir.join(ADAPTER);
                std::fs::create_dir_all(&adapter).map_err(|source| {
                    let (action, path) = ("create the folder", adapter.clone());
                    RunError::Io { action, path, source }
                })?;
                self.model.save_adapter(&adapter, Some(&self.recipe.model))?;
            }
            self.optimizer.save(&dir.join(OPTIMIZER))?;
            let curriculum = match &self.update {
                Update::Grpo(_) => vr1_curriculum::State::default(),
                Update::Sft { curriculum, .. } => curriculum.state(),
            };
            let (step, seconds, before) = (self.done, self.seconds(), self.before.clone());
            Progressed { step, seconds, before, curriculum }.write(dir)
        };
        Ok(self.folder.checkpoint(self.done, write)?)
    }
}

/// The documents of an SFT recipe, open.
pub(crate) fn corpus(config: &SftObjective, seed: u64) -> Result<Corpus> {
    let documents = config.documents.iter().map(|d| Document::open(d, seed)).collect::<Result<_>>()?;
    Corpus::new(documents, seed)
}

/// `count` documents' words: what a tokenizer is trained on.
///
/// # Errors
/// If a document's samples cannot be had or its templates do not fit them.
pub fn words(config: &SftObjective, seed: u64, count: usize) -> Result<Vec<String>> {
    corpus(config, seed)?.words(count)
}
