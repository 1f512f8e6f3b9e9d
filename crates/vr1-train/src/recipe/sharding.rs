//! What goes with how processes share what they hold.

use vr1_learn::{ReferenceConfig, Sharding};
use vr1_nn::Recompute;

use super::check::{Fault, fault};
use super::{Recipe, StageConfig};

impl Recipe {
    /// Layers whose parameters are brought for a pass are run again for the way back.
    pub(super) fn check_sharding(&self, stages: &[StageConfig]) -> Result<(), Fault> {
        if self.sharding != Sharding::Zero3 {
            return Ok(());
        }
        if self.recompute != Recompute::Layers {
            return fault("recompute", "must be `layers` with `sharding: zero3`");
        }
        let moves = |stage: &StageConfig| stage.reference.unwrap_or_default() != ReferenceConfig::Start;
        match stages.iter().position(moves) {
            None => Ok(()),
            Some(_) if self.stages.iter().all(|stage| stage.reference.is_none()) => {
                fault("reference", "cannot move with `sharding: zero3`")
            }
            Some(i) => fault(&format!("stages.{i}.reference"), "cannot move with `sharding: zero3`"),
        }
    }
}
