use std::collections::BTreeMap;

use serde_json::Value;
use vr1_learn::{Loss, Signals, Step};
use vr1_processor::Processor;
use vr1_rollout::Group;

use crate::{Result, Rollout, Run, Supply};

/// What to learn from: what a step's sequences are, and how good each is.
///
/// GRPO samples and rewards, DPO pairs, imitation reads; a user's own is a type that implements this. What it collects, the
/// learner turns into weights by the [`Loss`] that it names.
pub trait Objective {
    /// The groups of a step and what is known of them; none where there is nothing to learn from.
    ///
    /// # Errors
    /// If samples cannot be read, an engine fails, or a reward does and the recipe has it stop.
    fn collect(&mut self, run: &mut Run, at: Step) -> Result<Collected>;

    /// The loss that is followed.
    fn loss(&self) -> &dyn Loss;

    /// Whether the model is compared with a reference: by the loss, unless the objective itself compares.
    fn compares(&self) -> bool {
        self.loss().needs().reference
    }

    /// Whether it asks the run's engine or its model while it collects. What processes hold each a share of
    /// ([`Sharding::Zero3`](vr1_learn::Sharding::Zero3)) is brought together for it.
    fn samples(&self) -> bool {
        true
    }

    /// What there is to draw from, and how long `count` of it are: what is told of a run before it begins.
    fn supply(&self, processor: &Processor, count: usize) -> Supply {
        let _ = (processor, count);
        Supply::default()
    }

    /// Takes note of what was measured while what it collected was learnt from.
    fn learnt(&mut self, metrics: &BTreeMap<String, f64>) {
        let _ = metrics;
    }

    /// What a resumed run needs to collect what this one would have; a step that fails is gone back from by it, too.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Takes up what [`state`](Self::state) gave.
    ///
    /// # Errors
    /// If it is another objective's.
    fn restore(&mut self, state: &Value) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// What an objective collected for a step.
#[derive(Debug, Default)]
pub struct Collected {
    /// The sequences.
    pub groups: Vec<Group>,
    /// How good each is.
    pub signals: Signals,
    /// What was measured on the way.
    pub metrics: BTreeMap<String, f64>,
    /// What is written down of sequences that were sampled.
    pub rollouts: Vec<Rollout>,
    /// What the person who waits should know.
    pub warnings: Vec<String>,
}
