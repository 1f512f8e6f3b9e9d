use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vr1_eval::{Answering, Ask, Asking, Benchmark, BoxUnits, EvalConfig, Extraction, Questions, Turns, evaluate};
use vr1_processor::Layout;
use vr1_rollout::{Sampling, Search};
use vr1_run::Interrupt;

use crate::{Error, Result, Run};

/// A published benchmark that a run is evaluated on, asked and read as `vr1 eval` does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchmarkConfig {
    /// Which of those that `vr1 eval --list` names.
    pub name: String,
    /// The folder that it is published as, or one of its files.
    pub path: PathBuf,
    /// The folder that paths of pictures are relative to; where the benchmark has them, if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<PathBuf>,
    /// How many questions are asked, drawn by a fixed seed; 0 asks all.
    #[serde(default)]
    pub samples: usize,
    /// How answers are found.
    #[serde(default)]
    pub extraction: Extraction,
    /// Words instead of the benchmark's, with `{question}` in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// By the chat template, or as it is.
    #[serde(default)]
    pub layout: Layout,
    /// The longest answer, in tokens; the benchmark's own where none is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<usize>,
    /// What boxes are written in; what the checkpoint's family does where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boxes: Option<BoxUnits>,
    /// At once, or in LlamaV-o1's four turns.
    #[serde(default)]
    pub turns: Turns,
    /// Beams, in each turn; 1 takes the likeliest token.
    #[serde(default = "one")]
    pub num_beams: usize,
    /// Whether the judge that the run was given is asked, where the benchmark asks a language model.
    #[serde(default)]
    pub judge: bool,
}

fn one() -> usize {
    1
}

impl BenchmarkConfig {
    /// Why it cannot be asked, if it cannot.
    pub(crate) fn check(&self) -> Result<(), String> {
        let benchmark = Benchmark::named(&self.name).map_err(|error| format!("`name`: {error}"))?;
        if benchmark.needs_judge() && !self.judge {
            return Err(format!("`judge`: {} is scored by a language model, and needs `judge: true`", self.name));
        }
        match &self.prompt {
            Some(prompt) if !prompt.contains("{question}") => {
                Err("`prompt`: {question} does not stand in it".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// A benchmark with its questions open.
pub(crate) struct OpenBenchmark {
    pub(crate) name: String,
    questions: Questions,
    config: EvalConfig,
    judged: bool,
}

impl OpenBenchmark {
    /// Opens it for the checkpoint `model`.
    pub(crate) fn open(name: &str, config: &BenchmarkConfig, model: &str) -> Result<Self> {
        let benchmark = Benchmark::named(&config.name)?;
        let boxes = || {
            // A model that was handed over has no directory.
            let dir = vr1_vlm::resolve(model).ok();
            dir.map_or(Ok(BoxUnits::default()), |dir| BoxUnits::of_checkpoint(&dir))
        };
        let tokens = config.max_completion_tokens.unwrap_or_else(|| benchmark.max_completion_tokens());
        let asked = EvalConfig {
            extraction: config.extraction,
            prompt: config.prompt.clone(),
            layout: config.layout,
            turns: config.turns,
            search: match config.num_beams {
                1 => Search::Draw,
                beams => Search::Beam { beams, length_penalty: 1.0 },
            },
            boxes: config.boxes.map_or_else(boxes, Ok)?,
            samples: config.samples,
            sampling: Sampling::greedy(tokens),
            ..EvalConfig::default()
        };
        let questions = benchmark.open(&config.path, config.images.as_deref())?;
        Ok(Self { name: name.to_owned(), questions, config: asked, judged: config.judge })
    }

    /// The score that is known to come of it.
    pub(crate) fn score(&self) -> String {
        format!("{}/{}", self.name, self.questions.benchmark().headline())
    }

    /// How many questions are asked.
    pub(crate) fn len(&self) -> usize {
        let all = self.questions.len();
        if self.config.samples == 0 { all } else { self.config.samples.min(all) }
    }

    /// Asks it. Answers and summary go into `folder`, where an evaluation
    /// that was stopped goes on. Nothing where it was asked to stop.
    pub(crate) fn run(&self, run: &mut Run, interrupt: &Interrupt, folder: &Path) -> Result<Option<Benchmarked>> {
        let room = run.learner.model().max_tokens().checked_sub(self.config.sampling.max_completion_tokens);
        let Some(room) = room.filter(|room| *room > 0) else {
            let tokens = run.learner.model().max_tokens();
            return Err(Error::Recipe(format!(
                "evaluation.benchmarks.{}.max_completion_tokens: the model takes {tokens} in all",
                self.name
            )));
        };
        let config = EvalConfig { max_prompt_tokens: Some(room), ..self.config.clone() };
        let (processor, watch, world) = (run.processor.clone(), run.watch().clone(), run.world().clone());
        // All ranks go by the scores of the first, which alone asks.
        let judge = |judge| if world.is_first() { judge } else { Arc::new(Nobody) as Arc<dyn Ask> };
        let judge = run.judge().filter(|_| self.judged).map(judge);
        if !world.is_alone() && folder.exists() {
            // What is there only rank 0 has, and all ask the same.
            std::fs::remove_dir_all(folder).map_err(|source| vr1_run::RunError::Io {
                action: "remove",
                path: folder.to_owned(),
                source,
            })?;
        }
        let mut told = |_, _| {
            watch.hears("evaluating");
            // A rank that is gone is told of by what is asked next.
            match world.any(interrupt.requested()) {
                Ok(false) => ControlFlow::Continue(()),
                Ok(true) | Err(_) => ControlFlow::Break(()),
            }
        };
        let mut who = Answering {
            engine: run.evaluation_engine()?,
            processor: &processor,
            model: "the run's",
            judge: judge.as_deref(),
            reward: None,
        };
        let Some(summary) = evaluate(&self.questions, &mut who, &config, Some(folder), &mut told)? else {
            return Ok(None);
        };
        let scores = summary.metrics.iter().map(|(name, estimate)| (format!("{}/{name}", self.name), estimate.value));
        let missing = summary.why_missing.as_ref().map(|why| {
            let (missing, count) = (summary.missing, summary.count);
            format!("`{}`: {missing} of {count} answers have no verdict and count for nothing; {why}", self.name)
        });
        Ok(Some(Benchmarked { scores: scores.collect(), missing }))
    }
}

/// The judge of a rank whose scores nobody reads: another asks, or nothing is evaluated.
#[derive(Debug)]
pub(crate) struct Nobody;

impl Ask for Nobody {
    fn name(&self) -> &str {
        "nobody"
    }

    fn ask(&self, _: &Asking) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        Err("nobody is asked here".into())
    }
}

/// What came of a benchmark.
pub(crate) struct Benchmarked {
    /// By `NAME/METRIC`.
    pub(crate) scores: BTreeMap<String, f64>,
    /// Of answers without a verdict, how many and why.
    pub(crate) missing: Option<String>,
}
