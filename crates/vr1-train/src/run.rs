use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use vr1_learn::{Learner, Step};
use vr1_processor::Processor;
use vr1_rollout::{Engine, Group, Version};

use crate::recorded::Recorded;
use crate::rollout::trained;
use crate::threads::Threads;
use crate::{Collected, Objective, Result, Rollout};

/// What a step is taken with: the engine that samples, the learner that learns, and what makes prompts.
///
/// A [`Trainer`](crate::Trainer) drives one by a recipe; from Rust it can be driven by hand.
pub struct Run {
    engine: Box<dyn Engine>,
    /// The weights that the engine has.
    loaded: Option<Version>,
    /// Seconds that handing weights over took in this step, and waiting for rewards.
    handing: f64,
    waiting: f64,
    /// What answers instead of the engine, where a step is done again.
    recorded: Option<Recorded>,
    /// Whether a step that is not finite is passed over.
    passes: bool,
    /// What was sampled for a step that failed.
    unlearnt: Vec<Rollout>,
    /// Turns sequences into weights.
    pub learner: Learner,
    /// Makes prompts and spells ids.
    pub processor: Arc<Processor>,
    /// Everything random follows from it.
    pub seed: u64,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("learner", &self.learner).field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// What a step did.
#[derive(Debug, Default)]
pub struct Stepped {
    /// What was measured, by name.
    pub metrics: BTreeMap<String, f64>,
    /// What was sampled.
    pub rollouts: Vec<Rollout>,
    /// What the person who waits should know.
    pub warnings: Vec<String>,
}

impl Run {
    /// A run whose completions come from `engine` and whose weights are made by `learner`.
    pub fn new(engine: Box<dyn Engine>, learner: Learner, processor: impl Into<Arc<Processor>>, seed: u64) -> Self {
        let (loaded, recorded, processor) = (None, None, processor.into());
        let (passes, unlearnt) = (false, Vec::new());
        Self { engine, loaded, handing: 0.0, waiting: 0.0, recorded, passes, unlearnt, learner, processor, seed }
    }

    /// The engine, with the learner's weights as they are now: they are handed over where they changed since it was last
    /// asked for, and a run that samples nothing never hands any over.
    ///
    /// # Errors
    /// If the engine cannot take the weights.
    pub fn engine(&mut self) -> Result<&mut dyn Engine> {
        let weights = self.learner.snapshot();
        if self.loaded != Some(weights.version) {
            let begun = Instant::now();
            self.engine.load(&weights)?;
            self.handing += begun.elapsed().as_secs_f64();
            self.loaded = Some(weights.version);
        }
        Ok(self.engine.as_mut())
    }

    /// Whether the next step is passed over where its numbers are not finite: it learns nothing then, and is no error.
    pub fn pass_over_not_finite(&mut self, passes: bool) {
        self.passes = passes;
    }

    /// What was sampled for the last step, where that failed after it.
    pub fn take_unlearnt(&mut self) -> Vec<Rollout> {
        std::mem::take(&mut self.unlearnt)
    }

    /// Has what was recorded answer in the next step.
    pub(crate) fn answer_by(&mut self, recorded: Option<Recorded>) {
        self.recorded = recorded;
    }

    /// What answers instead of the engine and the reward.
    pub(crate) fn recorded(&mut self) -> Option<&mut Recorded> {
        self.recorded.as_mut()
    }

    /// Counts seconds in which nothing was sampled any more, and rewards were waited for.
    pub(crate) fn waited(&mut self, seconds: f64) {
        self.waiting += seconds;
    }

    /// Samples with another engine from here on.
    pub fn set_engine(&mut self, engine: Box<dyn Engine>) {
        (self.engine, self.loaded) = (engine, None);
    }

    /// Learns by another learner from here on.
    pub(crate) fn set_learner(&mut self, learner: Learner) {
        (self.learner, self.loaded) = (learner, None);
    }

    /// Takes a step: what `objective` collects is learnt from. Where it collects nothing, nothing is learnt. On the CPU a model of fewer than
    /// two million parameters works on one thread meanwhile, whatever libtorch has.
    ///
    /// # Errors
    /// If collecting or learning fails; the weights and the objective's state are then as they were.
    pub fn step(&mut self, objective: &mut dyn Objective, at: Step) -> Result<Stepped> {
        let before = objective.state();
        let _threads = Threads::of_use_to(self.learner.model().as_ref());
        self.attempt(objective, at).inspect_err(|_| {
            // What failed first is what to tell; an objective takes its own state.
            let _ = objective.restore(&before);
        })
    }

    fn attempt(&mut self, objective: &mut dyn Objective, at: Step) -> Result<Stepped> {
        let begun = Instant::now();
        // What was sampled between steps is no part of this one.
        self.engine.take_seconds();
        (self.handing, self.waiting) = (0.0, 0.0);
        if objective.compares() && self.learner.reference().is_none() {
            self.learner.keep_reference()?;
        }
        // An adapter's dropout is drawn by libtorch: a function of the seed and the step.
        tch::manual_seed(self.seed.wrapping_add(at.done << 32) as i64);
        let Collected { groups, signals, mut metrics, mut rollouts, mut warnings } = objective.collect(self, at)?;
        let gathered = begun.elapsed().as_secs_f64();
        let sampled = self.engine.take_seconds().into_iter().filter(|(_, seconds)| *seconds > 0.0);
        let parts = sampled.chain([("weights", self.handing), ("rewards", self.waiting)]);
        metrics.extend(parts.map(|(part, seconds)| (format!("seconds_{part}"), seconds)));
        if groups.is_empty() {
            self.pass(&mut metrics, "idle");
        } else {
            match self.learner.update(&groups, &signals, objective.loss(), at) {
                Ok(update) => {
                    trained(&mut rollouts, &groups, update.logprobs);
                    objective.learnt(&update.metrics);
                    metrics.extend(update.metrics);
                    metrics.extend(update.seconds);
                }
                Err(error @ vr1_learn::Error::NotFinite { .. }) if self.passes => {
                    warnings.push(format!("{error}; the step is passed over"));
                    self.pass(&mut metrics, SKIPPED);
                }
                Err(error) => {
                    self.unlearnt = rollouts;
                    return Err(error.into());
                }
            }
        }
        let total: usize = groups.iter().map(tokens).sum();
        let seconds = begun.elapsed().as_secs_f64();
        metrics.entry("tokens_per_second".to_owned()).or_insert(total as f64 / seconds.max(1e-9));
        metrics.insert("seconds_collecting".to_owned(), gathered);
        metrics.insert("seconds".to_owned(), seconds);
        Ok(Stepped { metrics, rollouts, warnings })
    }

    /// A step that learns nothing, and says why. It is a version all the same, whatever it did.
    fn pass(&mut self, metrics: &mut BTreeMap<String, f64>, why: &str) {
        self.learner.continue_from(Version(self.learner.snapshot().version.0 + 1));
        metrics.insert(why.to_owned(), 1.0);
    }
}

/// The metric of a step that was passed over.
pub(crate) const SKIPPED: &str = "skipped";

/// How many tokens a model runs over for a group.
fn tokens(group: &Group) -> usize {
    group.prompt().len() + group.sequences().iter().map(|sequence| sequence.ids().len()).sum::<usize>()
}
