use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tch::{Device, Kind};
use vr1_curriculum::Curriculum;
use vr1_reward::{Program, Registry};
use vr1_vlm::{Model, Processor};

use crate::document::Document;
use crate::evaluate::Evaluation;
use crate::grpo::{Grpo, RolloutRecord};
use crate::sft::{Corpus, sft_step};
use crate::{
    EventWriter, Interrupt, Objective, Optimizer, Progress, Recipe, Result, RunFolder, SftObjective, Show, StepMetrics,
    Summary, report, write_plots,
};

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
        let reward = Program::compile(recipe.reward.clone(), &options.registry)?;
        let evaluation = Evaluation::open(&recipe.evaluation, &recipe.prompt, recipe.seed)?;
        let update = match &recipe.objective {
            Objective::Grpo(grpo) => {
                let grpo = Grpo::new(grpo, &recipe.prompt, reward.clone(), recipe.seed, &model)?;
                Update::Grpo(Box::new(grpo))
            }
            Objective::Sft(sft) => {
                let corpus = corpus(sft, recipe.seed)?;
                let curriculum = sft.curriculum.build(corpus.stages(), recipe.steps)?;
                Update::Sft { corpus, curriculum, config: sft.clone() }
            }
        };
        let frozen = |name: &str| recipe.freeze.iter().any(|prefix| name.starts_with(prefix.as_str()));
        let optimizer = Optimizer::new(model.parameters().train(|name| !frozen(name)), recipe.optimizer.clone())?;
        let interrupt = Interrupt::install().unwrap_or_default();
        let folder = RunFolder::create(&options.out)?;
        folder.write_config(&recipe)?;
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
        })
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
        let begun = Instant::now();
        let before = self.evaluate()?;
        while self.done < self.recipe.steps && !self.interrupt.requested() {
            self.step()?;
        }
        self.progress.finish();
        self.checkpoint()?;
        let after = self.evaluate()?;
        let summary = Summary { before, after, steps: self.done, seconds: begun.elapsed().as_secs_f64() };
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

    /// Writes `checkpoints/step-N`: the model and its processor as transformers reads them.
    ///
    /// # Errors
    /// If it cannot be written; earlier checkpoints stay.
    pub fn checkpoint(&self) -> Result<PathBuf> {
        let write = |dir: &Path| -> Result<()> {
            self.model.save(dir, self.model.kind())?;
            self.processor.save(dir)?;
            Ok(())
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
