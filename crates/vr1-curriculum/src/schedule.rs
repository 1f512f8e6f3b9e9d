use serde::{Deserialize, Serialize};

use crate::adaptive::AdaptiveSettings;
use crate::steps::normalised;
use crate::{Adaptive, Curriculum, Error, Fixed, Linear, Result, Staged};

/// A schedule as a recipe writes it: `kind: staged` and that kind's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// The same weights for ever; without any, all stages alike.
    Fixed {
        /// One weight a stage, in any unit.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        weights: Vec<f64>,
    },
    /// One stage after the other.
    Staged {
        /// The fraction of the run at which each stage starts, the first 0; without any, stages of equal length.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        starts: Vec<f64>,
        /// The fraction of the run that the change to the next stage takes.
        #[serde(default)]
        blend: f64,
    },
    /// From one set of weights to another, in a straight line.
    Linear {
        /// The weights at the first step; without any, all on the first stage.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        from: Vec<f64>,
        /// The weights at the end; without any, all stages alike.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        to: Vec<f64>,
        /// The fraction of the run that the change takes.
        #[serde(default = "whole")]
        over: f64,
    },
    /// Most weight on the stages whose solved rate is near the target.
    Adaptive {
        /// The solved rate that gets most weight.
        #[serde(default = "target")]
        target: f64,
        /// How far from the target a stage still gets weight.
        #[serde(default = "width")]
        width: f64,
        /// The least share of a stage's greatest weight.
        #[serde(default = "floor")]
        floor: f64,
        /// How many groups the running rate remembers.
        #[serde(default = "memory")]
        memory: u64,
    },
}

fn whole() -> f64 {
    1.0
}
fn target() -> f64 {
    Adaptive::DEFAULT.target
}
fn width() -> f64 {
    Adaptive::DEFAULT.width
}
fn floor() -> f64 {
    Adaptive::DEFAULT.floor
}
fn memory() -> u64 {
    Adaptive::DEFAULT.memory
}

impl Default for Schedule {
    /// All stages alike.
    fn default() -> Self {
        Self::Fixed { weights: Vec::new() }
    }
}

impl Schedule {
    /// The curriculum of a run of `steps` steps over `stages` stages.
    ///
    /// # Errors
    /// Where a setting is out of its range, or a list has not one entry a stage.
    ///
    /// # Example
    /// ```
    /// use vr1_curriculum::{Curriculum, Schedule};
    /// let mut thirds = Schedule::Staged { starts: vec![], blend: 0.0 }.build(3, 90)?;
    /// assert_eq!(thirds.weights(29), [1.0, 0.0, 0.0]);
    /// assert_eq!(thirds.weights(60), [0.0, 0.0, 1.0]);
    /// # Ok::<(), vr1_curriculum::Error>(())
    /// ```
    pub fn build(&self, stages: usize, steps: u64) -> Result<Box<dyn Curriculum>> {
        if stages == 0 {
            return Err(Error::Stages { setting: "stages", found: 0, stages });
        }
        let or = |list: &[f64], default: Vec<f64>| if list.is_empty() { default } else { list.to_vec() };
        let even = vec![1.0; stages];
        Ok(match self {
            Self::Fixed { weights } => Box::new(Fixed::new(&normalised("weights", &or(weights, even), stages)?)?),
            Self::Staged { starts, blend } => {
                let equal = (0..stages).map(|stage| stage as f64 / stages as f64).collect();
                let starts = or(starts, equal);
                if starts.len() != stages {
                    return Err(Error::Stages { setting: "starts", found: starts.len(), stages });
                }
                Box::new(Staged::new(&starts, *blend, steps)?)
            }
            Self::Linear { from, to, over } => {
                if !(*over > 0.0 && *over <= 1.0) {
                    let reason = format!("is {over}; it is a fraction of the run, above 0 and at most 1");
                    return Err(Error::Setting { setting: "over", reason });
                }
                let mut first = vec![0.0; stages];
                first[0] = 1.0;
                let from = normalised("from", &or(from, first), stages)?;
                let to = normalised("to", &or(to, even), stages)?;
                Box::new(Linear::new(&from, &to, (steps as f64 * over).round() as u64)?)
            }
            Self::Adaptive { target, width, floor, memory } => {
                let (target, width, floor, memory) = (*target, *width, *floor, *memory);
                Box::new(Adaptive::new(stages, AdaptiveSettings { target, width, floor, memory })?)
            }
        })
    }
}
