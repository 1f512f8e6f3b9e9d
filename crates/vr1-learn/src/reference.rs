use std::rc::Rc;

use serde::{Deserialize, Serialize};
use vr1_nn::Derived;
use vr1_vlm::Backbone;

use crate::{Error, Result};

/// What a run is compared with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ReferenceConfig {
    /// The model as it was at the start; with an adapter, the model without it.
    #[default]
    Start,
    /// Every so many steps it moves towards the model: `π_ref ← mixup · π + (1 − mixup) · π_ref` (TR-DPO,
    /// [arXiv:2404.09656](https://arxiv.org/abs/2404.09656)). With a mixup of 1 it becomes the model.
    Synced {
        /// Steps between.
        every_steps: u64,
        /// How far it moves.
        #[serde(default = "wholly")]
        mixup: f64,
    },
    /// After every step it moves a little: a running average, `π_ref ← decay · π_ref + (1 − decay) · π`, kept in f32
    /// whatever the weights are.
    Ema {
        /// How much of it stays.
        decay: f64,
    },
}

fn wholly() -> f64 {
    1.0
}

impl ReferenceConfig {
    /// Checks every setting's range.
    ///
    /// # Errors
    /// If one is out of range; the error names it.
    pub fn validate(self) -> Result<()> {
        let check = |field, value: f64, allowed, ok| match ok {
            true => Ok(()),
            false => Err(Error::Setting { field, value: value.to_string(), allowed }),
        };
        match self {
            Self::Start => Ok(()),
            Self::Synced { every_steps, mixup } => {
                check("reference.every_steps", every_steps as f64, "1 or more", every_steps > 0)?;
                check("reference.mixup", mixup, "in (0, 1]", mixup > 0.0 && mixup <= 1.0)
            }
            Self::Ema { decay } => check("reference.decay", decay, "in [0, 1)", (0.0..1.0).contains(&decay)),
        }
    }

    /// How far the reference moves after `done` steps, where it does.
    pub(crate) fn moves(self, done: u64) -> Option<f64> {
        match self {
            Self::Start => None,
            Self::Synced { every_steps, mixup } => done.is_multiple_of(every_steps.max(1)).then_some(mixup),
            Self::Ema { decay } => Some(1.0 - decay),
        }
    }

    /// The reference that a run of `model` begins with. One that moves is a copy of what is trained.
    pub(crate) fn begin(self, model: &dyn Backbone) -> Result<Rc<dyn Backbone>> {
        Ok(model.derive(if self.copies(model) { Derived::Copy } else { Derived::Base })?)
    }

    /// Whether that is a copy: not where it is the model without its adapter.
    pub(crate) fn copies(self, model: &dyn Backbone) -> bool {
        self != Self::Start || model.parameters().adapter().is_none()
    }
}
