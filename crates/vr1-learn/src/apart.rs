//! Parameters that ranks hold each a share of.

use vr1_nn::Recompute;

use super::layers::Layers;
use super::learner::{Learner, LearnerConfig};
use crate::{Error, ReferenceConfig, Result};

impl Learner {
    /// The BLAKE3 hash of the trained parameters, by their names, kinds, shapes and bytes: two learners have the same where they would go on
    /// alike. Where ranks [hold each a share](Self::is_apart) of them, all ask for it, or all are [together](Self::together).
    ///
    /// # Errors
    /// If there is no room for a copy of a parameter on the host, or another rank is gone.
    pub fn fingerprint(&self) -> Result<String> {
        self.layers.together(|| {
            let print = self.optimizer.fingerprint(|place| self.layers.visit(Some(place)));
            self.layers.visit(None)?;
            print
        })
    }

    /// Whether ranks hold each a share of the parameters of layers, [`Sharding::Zero3`](crate::Sharding::Zero3): [`update`](Self::update) and what
    /// else this learner does with its model brings them together; what others do with it, they do [`together`](Self::together), or while
    /// all are [here](Self::gather_parameters).
    pub fn is_apart(&self) -> bool {
        self.layers.are_apart()
    }

    /// Brings the parameters of all layers to every rank, where they stay until they are [freed](Self::free_parameters) or learnt with: the
    /// bytes of them. A model can be sampled from then. All ranks call this; where each holds everything, it is nothing.
    ///
    /// # Errors
    /// If a rank has no room, or is gone.
    pub fn gather_parameters(&self) -> Result<u64> {
        self.layers.gather_all()
    }

    /// Has this rank hold its share alone again.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn free_parameters(&self) -> Result<()> {
        self.layers.free()
    }

    /// Does `work` on all ranks, which call this at the same time: it may run layers of the model, and save it, on each as it likes, for each
    /// gives what another needs, a layer at a time, until none needs any more.
    ///
    /// # Errors
    /// Those of `work`, or that another rank is gone.
    pub fn together<T, E: From<Error>>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.layers.together(work)
    }

    /// Gives the model up as it is, its parameters apart or together, for another learner of the same ranks; this one is of no more use.
    pub fn release(&mut self) {
        self.layers = Layers::default();
    }
}

impl LearnerConfig {
    /// Layers whose parameters are brought for a pass are run again for the way back, and a reference that moves would have to be brought along.
    pub(crate) fn check_apart(&self) -> Result<()> {
        let refuse = |field, value: &str, allowed| Err(Error::Setting { field, value: value.to_owned(), allowed });
        match (self.recompute, self.reference) {
            (Recompute::None, _) => refuse("recompute", "none", "`layers` with `sharding: zero3`"),
            (Recompute::Attention, _) => refuse("recompute", "attention", "`layers` with `sharding: zero3`"),
            (_, ReferenceConfig::Start) => Ok(()),
            (_, ReferenceConfig::Synced { .. }) => refuse("reference.kind", "synced", "`start` with `sharding: zero3`"),
            (_, ReferenceConfig::Ema { .. }) => refuse("reference.kind", "ema", "`start` with `sharding: zero3`"),
        }
    }
}
