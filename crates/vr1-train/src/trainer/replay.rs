use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use vr1_run::{RunError, RunFolder, Show, StepMetrics, read_metrics, read_rows, rollout_steps};

use super::resume::{named, same};
use super::saved::{Begun, Origin, Progressed};
use super::{RunOptions, Trainer};
use crate::benchmarks::Nobody;
use crate::recipe::Recipe;
use crate::recorded::Recorded;
use crate::{Error, Result, Rollout};

/// What came of doing a step of a run again.
#[derive(Debug, Clone, Serialize)]
pub struct Replay {
    /// The step.
    pub step: u64,
    /// The step of the checkpoint that it was done again from; 0 is the run's beginning. What lies between was done again, too.
    pub from_step: u64,
    /// Completions whose records were learnt from again; none where the objective samples nothing.
    pub completions: usize,
    /// Numbers that were compared: the step's metrics but for time, memory and what only servers have, and what is recorded of its completions.
    pub compared: usize,
    /// Those that are not the same to the last bit.
    pub differences: Vec<Difference>,
    /// The BLAKE3 hash of the trained parameters before the step.
    pub weights_before: String,
    /// The same after it.
    pub weights_after: String,
    /// What the checkpoint of this step says of its own, where one is kept.
    pub weights_recorded: Option<String>,
}

/// A number that is another than was recorded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Which.
    pub name: String,
    /// What was recorded; `null` in JSON where it is not finite, or missing.
    pub recorded: f64,
    /// What it is now.
    pub now: f64,
}

impl Replay {
    /// Whether all is the same, bit for bit.
    pub fn is_same(&self) -> bool {
        self.differences.is_empty() && self.weights_recorded.as_ref().is_none_or(|own| *own == self.weights_after)
    }
}

impl Trainer {
    /// Does step `step` of the run in `dir` again, from the latest checkpoint before it that is whole, or from the run's beginning: with the
    /// completions and rewards that are recorded, and by the code that takes every step. Nothing is written into the run's folder.
    ///
    /// # Errors
    /// If the run was not begun with what there is now, its records are missing or broken, or it has no such step.
    pub fn replay(dir: &Path, step: u64, options: &RunOptions) -> Result<Replay> {
        let config = dir.join("config.yaml");
        if !RunFolder::holds_run(dir) {
            return Err(RunError::NoRun(dir.to_owned()).into());
        }
        let recipe = Recipe::load(&config, &[])?;
        if recipe.rollout.tools.is_some() {
            let config = config.display();
            return Err(Error::Recipe(format!(
                "{config}: rollout.tools: what a tool showed is not recorded, so no step can be done again"
            )));
        }
        let recipe = recipe.without_servers();
        let rows = read_metrics(&dir.join("metrics.jsonl"))?;
        let record = |step: u64| {
            rows.iter().find(|row| row.step == step).ok_or_else(|| {
                let (path, last) = (dir.display(), rows.last().map_or(0, |row| row.step));
                Error::Recipe(format!("{path}: step {step} is not recorded; the last is {last}"))
            })
        };
        let recorded = record(step)?;
        let aside = tempfile::tempdir().map_err(|source| RunError::Io {
            action: "make a folder in",
            path: std::env::temp_dir(),
            source,
        })?;
        let judge = options.judge.clone().unwrap_or_else(|| Arc::new(Nobody));
        let out = aside.path().join("run");
        let options = RunOptions { out, show: Show::Quiet, judge: Some(judge), ..options.clone() };
        let mut trainer = Self::before(recipe, dir, step, &options).map_err(|error| match error {
            Error::Changed { changed, .. } => Error::Changed { path: dir.to_owned(), changed },
            other => other,
        })?;
        let from_step = trainer.done;
        loop {
            let sampled = sampled(dir, record(trainer.done + 1)?)?;
            let weights_before = trainer.run.learner.fingerprint()?;
            trainer.run.answer_by((!sampled.is_empty()).then(|| Recorded::new(sampled.clone())));
            let (metrics, again, _) = trainer.take()?;
            if trainer.done < step {
                if trainer.stage_is_over() {
                    trainer.next_stage(Default::default())?;
                }
                continue;
            }
            let mut told = Comparison::default();
            told.metrics(recorded, &metrics);
            told.rollouts(&sampled, &again);
            let own = dir.join(format!("checkpoints/step-{step}"));
            let weights_recorded = if own.is_dir() { Progressed::read(&own)?.weights } else { None };
            return Ok(Replay {
                step,
                from_step,
                completions: sampled.len(),
                compared: told.compared,
                differences: told.differences,
                weights_before,
                weights_after: trainer.run.learner.fingerprint()?,
                weights_recorded,
            });
        }
    }

    /// The run in `dir` as it was before a step, in a folder of its own.
    fn before(recipe: Recipe, dir: &Path, step: u64, options: &RunOptions) -> Result<Self> {
        let begun: Begun = RunFolder::beginning_of(dir)?.unwrap_or_default();
        match RunFolder::checkpoint_before(dir, step)? {
            Some((at, path)) => Self::go_on(recipe, options, (at, &path), RunFolder::create(&options.out)?, begun),
            None if begun.origin == Origin::Elsewhere => Err(Error::Recipe(format!(
                "{}: no checkpoint before step {step} is kept, and the run began with a model that no recipe names",
                dir.display()
            ))),
            None => {
                same(&recipe, options, 0, begun)?;
                let (model, processor) = named(&recipe, options)?;
                Self::begin(recipe, model, processor, options, Origin::Recipe, RunFolder::create)
            }
        }
    }
}

/// What was sampled in a step, by its record.
fn sampled(dir: &Path, record: &StepMetrics) -> Result<Vec<Rollout>> {
    let files = rollout_steps(dir)?;
    let Some((_, path)) = files.iter().find(|(found, _)| *found == record.step) else {
        return match record.get("completion_length") {
            None => Ok(Vec::new()),
            Some(_) => Err(Error::Recipe(format!("{}: the rollouts of step {} are gone", dir.display(), record.step))),
        };
    };
    Ok(read_rows(path)?.collect::<Result<_, RunError>>()?)
}

/// What is another than was recorded.
#[derive(Default)]
struct Comparison {
    compared: usize,
    differences: Vec<Difference>,
}

impl Comparison {
    fn number(&mut self, name: impl FnOnce() -> String, recorded: f64, now: f64) {
        self.compared += 1;
        // JSON writes `null` for what is not finite.
        let same = recorded.to_bits() == now.to_bits() || (recorded.is_nan() && !now.is_finite());
        if !same {
            self.differences.push(Difference { name: name(), recorded, now });
        }
    }

    fn metrics(&mut self, recorded: &StepMetrics, now: &StepMetrics) {
        for (name, value) in now.values.iter().filter(|(name, _)| !is_of_the_machine(name)) {
            self.number(|| name.clone(), recorded.get(name).unwrap_or(f64::NAN), *value);
        }
    }

    fn rollouts(&mut self, recorded: &[Rollout], now: &[Rollout]) {
        self.number(|| "rollouts".to_owned(), recorded.len() as f64, now.len() as f64);
        for (then, now) in recorded.iter().zip(now) {
            let place = |what: &str| format!("{what} of completion {} of `{}`", then.completion_index, then.sample);
            self.number(|| place("advantage"), then.advantage.into(), now.advantage.into());
            let shown = |rollout: &Rollout| rollout.media.iter().map(|shown| shown.blake3.clone()).collect::<Vec<_>>();
            if shown(then) != shown(now) {
                self.differences.push(Difference { name: place("what is shown"), recorded: f64::NAN, now: f64::NAN });
            }
            self.number(|| place("count of log-probabilities"), then.trained.len() as f64, now.trained.len() as f64);
            for (i, (then, now)) in then.trained.iter().zip(&now.trained).enumerate() {
                self.number(|| place(&format!("log-probability of token {i}")), (*then).into(), (*now).into());
            }
        }
    }
}

/// Whether a metric says how long something took, or how much room.
fn is_of_the_machine(name: &str) -> bool {
    name.starts_with("seconds") || ["tokens_per_second", "memory_gb", "canary_gap", "staleness"].contains(&name)
}
