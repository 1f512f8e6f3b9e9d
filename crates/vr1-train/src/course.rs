use vr1_curriculum::{Curriculum, State};

use crate::Result;

/// A curriculum that is asked for the next step's weights as soon as it has seen this step's rewards.
///
/// It is asked and told the same in the same order as without that, and its state is the one that it was asked in.
pub(crate) struct Course {
    curriculum: Box<dyn Curriculum>,
    next: Option<Next>,
}

/// What it said of a step to come, and its state before it did.
struct Next {
    step: u64,
    weights: Vec<f64>,
    state: State,
}

impl Course {
    pub(crate) fn new(curriculum: Box<dyn Curriculum>) -> Self {
        Self { curriculum, next: None }
    }

    /// The weight of each stage at `step`.
    pub(crate) fn weights(&mut self, step: u64) -> Vec<f64> {
        match self.next.take() {
            Some(next) if next.step == step => next.weights,
            _ => self.curriculum.weights(step),
        }
    }

    /// The same of a step to come, which nothing is observed before.
    pub(crate) fn ahead(&mut self, step: u64) -> Vec<f64> {
        let state = self.curriculum.state();
        let weights = self.curriculum.weights(step);
        self.next = Some(Next { step, weights: weights.clone(), state });
        weights
    }

    pub(crate) fn observe(&mut self, stage: usize, solved: f64) {
        self.curriculum.observe(stage, solved);
    }

    pub(crate) fn state(&self) -> State {
        self.next.as_ref().map_or_else(|| self.curriculum.state(), |next| next.state.clone())
    }

    pub(crate) fn restore(&mut self, state: &State) -> Result<()> {
        self.next = None;
        Ok(self.curriculum.restore(state)?)
    }
}
