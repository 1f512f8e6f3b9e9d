use serde::{Deserialize, Serialize};

use crate::Result;

/// Says how much of each stage the next samples should hold.
///
/// A user's own schedule implements [`Curriculum::weights`] and whichever of the others it needs.
///
/// # Example
/// ```
/// use vr1_curriculum::Curriculum;
///
/// /// Stage 0 on even steps, stage 1 on odd ones.
/// struct Alternate;
///
/// impl Curriculum for Alternate {
///     fn weights(&mut self, step: u64) -> Vec<f64> {
///         if step % 2 == 0 { vec![1.0, 0.0] } else { vec![0.0, 1.0] }
///     }
/// }
///
/// assert_eq!(Alternate.weights(3), [0.0, 1.0]);
/// ```
pub trait Curriculum: Send {
    /// The weight of each stage at `step`: none negative, and they sum to 1.
    fn weights(&mut self, step: u64) -> Vec<f64>;

    /// Tells the share of a group of `stage` that was solved, from 0 to 1. What is no number is not counted.
    fn observe(&mut self, stage: usize, solved: f64) {
        let _ = (stage, solved);
    }

    /// What a resumed run needs to go on as if it had not stopped.
    fn state(&self) -> State {
        State::default()
    }

    /// Takes up a saved state.
    ///
    /// # Errors
    /// Where the state is of another schedule, or of another number of stages.
    fn restore(&mut self, state: &State) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// What a curriculum has learned so far, for a checkpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The schedule that wrote it; empty for one that remembers nothing.
    pub kind: String,
    /// The running share solved of each stage.
    pub solved: Vec<f64>,
    /// How many groups of each stage were seen.
    pub seen: Vec<u64>,
}
