use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use vr1_learn::{Learner, Step};
use vr1_processor::Processor;
use vr1_rollout::Engine;

use crate::{Objective, Result, Rollout};

/// What a step is taken with: the engine that samples, the learner that learns, and what makes prompts.
///
/// A [`Trainer`](crate::Trainer) drives one by a recipe; from Rust it can be driven by hand.
pub struct Run {
    /// Samples with the learner's weights.
    pub engine: Box<dyn Engine>,
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
    /// Takes a step: what `objective` collects is learnt from, and the engine gets the new weights.
    ///
    /// # Errors
    /// If collecting or learning fails; the weights are then as they were.
    pub fn step(&mut self, objective: &mut dyn Objective, at: Step) -> Result<Stepped> {
        let begun = Instant::now();
        if objective.compares() && self.learner.reference().is_none() {
            self.learner.keep_reference()?;
        }
        // An adapter's dropout is drawn by libtorch: a function of the seed and the step.
        tch::manual_seed(self.seed.wrapping_add(at.done << 32) as i64);
        let collected = objective.collect(self, at)?;
        let gathered = begun.elapsed().as_secs_f64();
        let update = self.learner.update(&collected.groups, &collected.signals, objective.loss(), at)?;
        self.engine.load(&self.learner.snapshot())?;
        let mut metrics = collected.metrics;
        let total: usize = collected.groups.iter().map(tokens).sum();
        let seconds = begun.elapsed().as_secs_f64();
        metrics.extend(update.metrics);
        metrics.entry("tokens_per_second".to_owned()).or_insert(total as f64 / seconds.max(1e-9));
        metrics.insert("seconds_collecting".to_owned(), gathered);
        metrics.insert("seconds".to_owned(), seconds);
        Ok(Stepped { metrics, rollouts: collected.rollouts, warnings: collected.warnings })
    }
}

/// How many tokens a model runs over for a group.
fn tokens(group: &vr1_rollout::Group) -> usize {
    group.prompt().len() + group.sequences().iter().map(|sequence| sequence.ids().len()).sum::<usize>()
}
