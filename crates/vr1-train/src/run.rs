use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rayon::{ThreadPool, ThreadPoolBuilder};
use vr1_eval::Ask;
use vr1_learn::{Learner, Step, World};
use vr1_processor::Processor;
use vr1_rollout::{Engine, Group, Version};

use crate::engines::Handed;
use crate::recorded::Recorded;
use crate::rollout::trained;
use crate::threads::Threads;
use crate::watch::Watch;
use crate::{Collected, Error, Objective, Result, Rollout};

/// What a step is taken with: the engine that samples, the learner that learns, and what makes prompts.
///
/// A [`Trainer`](crate::Trainer) drives one by a recipe; from Rust it can be driven by hand.
pub struct Run {
    engine: Handed,
    /// What answers held-out samples, where that is another.
    evaluating: Option<Handed>,
    /// The most updates that weights may be older by which drew what is learnt from.
    staleness: u64,
    /// Seconds of this step in which weights were handed over, and rewards waited for.
    handing: f64,
    waiting: f64,
    /// What answers instead of the engine, where a step is done again.
    recorded: Option<Recorded>,
    /// Threads that score, apart from all others: who does not come back keeps nobody else from work.
    scorers: Option<Arc<ThreadPool>>,
    /// Who looks after phases that make no progress.
    watch: Watch,
    /// Whether a step that is not finite is passed over.
    passes: bool,
    /// The language model that judges, where a benchmark asks one.
    judge: Option<Arc<dyn Ask>>,
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
        let (recorded, processor) = (None, processor.into());
        let (passes, unlearnt, scorers, watch) = (false, Vec::new(), None, Watch::default());
        let world = learner.world().clone();
        Self {
            engine: Handed::new(engine, world),
            evaluating: None,
            staleness: 0,
            handing: 0.0,
            waiting: 0.0,
            recorded,
            scorers,
            watch,
            passes,
            judge: None,
            unlearnt,
            learner,
            processor,
            seed,
        }
    }

    /// The engine, with the learner's weights as they are now: they are handed over where they changed since it was last
    /// asked for, and a run that samples nothing never hands any over. Where several ranks learn together, all ask it the same, each
    /// rank completes its share, and all get everything.
    ///
    /// # Errors
    /// If the engine cannot take the weights.
    pub fn engine(&mut self) -> Result<&mut dyn Engine> {
        self.engine.with_weights(&self.learner, &self.processor, &mut self.handing)
    }

    /// This rank's own engine, which completes what this rank alone asks.
    pub(crate) fn own_engine(&mut self) -> Result<&mut dyn Engine> {
        self.engine()?;
        Ok(self.engine.own())
    }

    /// The ranks that learn together.
    pub fn world(&self) -> &World {
        self.learner.world()
    }

    /// What answers held-out samples, with the learner's weights as they are now.
    pub(crate) fn evaluation_engine(&mut self) -> Result<&mut dyn Engine> {
        let engine = self.evaluating.as_mut().unwrap_or(&mut self.engine);
        engine.with_weights(&self.learner, &self.processor, &mut self.handing)
    }

    /// Whether what answers held-out samples is in this process.
    pub(crate) fn evaluates_here(&self) -> bool {
        self.evaluating.as_ref().unwrap_or(&self.engine).is_here()
    }

    /// Has held-out samples answered by an engine of their own, or by that which samples.
    pub(crate) fn evaluate_with(&mut self, engine: Option<Box<dyn Engine>>) {
        let world = self.world().clone();
        self.evaluating = engine.map(|engine| Handed::new(engine, world));
    }

    /// Has benchmarks that ask a language model ask this one.
    pub(crate) fn judge_by(&mut self, judge: Option<Arc<dyn Ask>>) {
        self.judge = judge;
    }

    /// The language model that judges, if one was given.
    pub(crate) fn judge(&self) -> Option<Arc<dyn Ask>> {
        self.judge.clone()
    }

    /// Has the next step's completions sampled while a step is learnt from, by weights that are so many updates older at most.
    pub(crate) fn allow_staleness(&mut self, steps: u64) {
        self.staleness = steps;
    }

    /// Whether the next step's completions are sampled while a step is learnt from.
    pub(crate) fn samples_ahead(&self) -> bool {
        self.staleness > 0 && self.recorded.is_none()
    }

    /// The engine with the weights that it has, whatever they are, and what it keeps.
    pub(crate) fn handed(&mut self) -> &mut Handed {
        &mut self.engine
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

    /// Threads that score, as many as there are processors.
    pub(crate) fn scorers(&mut self) -> Result<Arc<ThreadPool>> {
        if let Some(scorers) = &self.scorers {
            return Ok(scorers.clone());
        }
        let made = ThreadPoolBuilder::new().thread_name(|_| "rewards".to_owned()).build();
        let made = made.map_err(|error| Error::Recipe(format!("there are no threads for rewards: {error}")))?;
        Ok(self.scorers.insert(Arc::new(made)).clone())
    }

    /// Has phases be looked after by `watch`.
    pub(crate) fn watch_by(&mut self, watch: Watch) {
        self.watch = watch;
    }

    /// Who looks after phases that make no progress.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Counts seconds in which nothing was sampled any more, and rewards were waited for.
    pub(crate) fn waited(&mut self, seconds: f64) {
        self.waiting += seconds;
    }

    /// Samples with another engine from here on.
    pub fn set_engine(&mut self, engine: Box<dyn Engine>) {
        self.engine = Handed::new(engine, self.world().clone());
    }

    /// Learns by another learner from here on.
    pub(crate) fn set_learner(&mut self, learner: Learner) {
        self.learner = learner;
        self.engine.forget_weights();
        self.evaluating.iter_mut().for_each(Handed::forget_weights);
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
            self.engine.forget_awaited();
        })
    }

    fn attempt(&mut self, objective: &mut dyn Objective, at: Step) -> Result<Stepped> {
        let begun = Instant::now();
        // What was sampled between steps is no part of this one.
        self.engine.as_it_is().take_seconds();
        (self.handing, self.waiting) = (0.0, 0.0);
        if objective.compares() && self.learner.reference().is_none() {
            self.learner.keep_reference()?;
        }
        // An adapter's dropout is drawn by libtorch: a function of the seed, the step, and which rank works on what.
        self.watch.hears("reading samples");
        let rank = (self.world().rank() as u64) << 48;
        tch::manual_seed(self.seed.wrapping_add(at.done << 32).wrapping_add(rank) as i64);
        // Who samples here needs all of the model.
        let apart = self.learner.is_apart() && objective.samples() && self.engine.is_here();
        let gathering = Instant::now();
        let brought = if apart { self.learner.gather_parameters()? } else { 0 };
        let gathering = gathering.elapsed().as_secs_f64();
        let collected = objective.collect(self, at);
        if apart {
            self.learner.free_parameters()?;
        }
        let Collected { groups, signals, mut metrics, mut rollouts, mut warnings } = collected?;
        let gathered = begun.elapsed().as_secs_f64();
        let sampled = self.engine.as_it_is().take_seconds().into_iter().filter(|(_, seconds)| *seconds > 0.0);
        let parts = sampled.chain([("weights", self.handing), ("rewards", self.waiting)]);
        metrics.extend(parts.map(|(part, seconds)| (format!("seconds_{part}"), seconds)));
        metrics.extend(self.engine.gap().map(|gap| ("canary_gap".to_owned(), gap)));
        if self.staleness > 0 {
            metrics.insert("staleness".to_owned(), staleness(&groups, self.learner.snapshot().version));
        }
        warnings.extend(self.engine.as_it_is().take_warnings());
        warnings.extend(self.evaluating.iter_mut().flat_map(|engine| engine.as_it_is().take_warnings()));
        if groups.is_empty() {
            self.pass(&mut metrics, "idle");
        } else {
            self.watch.hears("learning");
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
        if apart {
            *metrics.entry("gathered_bytes".to_owned()).or_default() += brought as f64;
            *metrics.entry("seconds_gather".to_owned()).or_default() += gathering;
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

/// How many updates ago the weights were those that sampled, on average.
fn staleness(groups: &[Group], now: Version) -> f64 {
    let sampled = groups.iter().flat_map(Group::sequences).filter_map(|sequence| sequence.sampled());
    let ages: Vec<f64> = sampled.map(|sampled| now.0.saturating_sub(sampled.version.0) as f64).collect();
    ages.iter().sum::<f64>() / ages.len().max(1) as f64
}

/// How many tokens a model runs over for a group.
fn tokens(group: &Group) -> usize {
    group.prompt().len() + group.sequences().iter().map(|sequence| sequence.ids().len()).sum::<usize>()
}
