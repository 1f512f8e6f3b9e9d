use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tch::Tensor;
use vr1_torch::{gradients_collected, granted, recomputed};

use crate::{Pass, Residual};

/// What the backward pass computes again instead of keeping it, to make room; gradients are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Nothing.
    #[default]
    None,
    /// Every layer: what goes in is kept of it. A step runs a third longer.
    Layers,
    /// Of every layer the attention and what is around it; its MLP keeps what it made.
    Attention,
}

/// A layer that its model holds, and so does every backward pass that is to run it again, on whatever thread.
#[derive(Debug)]
pub struct Held<L>(Arc<Mutex<L>>);

impl<L> Clone for Held<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<L: Send + 'static> Held<L> {
    /// Holds `layer`.
    pub fn new(layer: L) -> Self {
        Self(Arc::new(Mutex::new(layer)))
    }

    /// Runs `work` on the layer.
    pub fn with<T>(&self, work: impl FnOnce(&L) -> T) -> T {
        // A panic leaves a layer as it was: nothing in it changes.
        work(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The two halves of the layer one after the other, of which `recompute` says what is kept.
    ///
    /// # Panics
    /// As all operations of tensors do where libtorch refuses them: for want of memory.
    pub fn halves(
        &self,
        recompute: Recompute,
        x: &mut Residual,
        attend: impl Fn(&L, &mut Residual) + Send + 'static,
        feed: impl Fn(&L, &mut Residual) + Send + 'static,
    ) {
        let (held, recompute) = (self.clone(), if gradients_collected() { recompute } else { Recompute::None });
        let again = move |input: &Tensor, work: &dyn Fn(&L, &mut Residual)| {
            let mut x = Residual::new(input, Pass::Scoring);
            held.with(|layer| work(layer, &mut x));
            x.into_sum()
        };
        match recompute {
            Recompute::None => self.with(|layer| {
                attend(layer, x);
                feed(layer, x);
            }),
            Recompute::Layers => {
                let both = move |layer: &L, x: &mut Residual| {
                    attend(layer, x);
                    feed(layer, x);
                };
                x.through(|sum| granted(recomputed(sum, move |sum| again(sum, &both))));
            }
            Recompute::Attention => {
                x.through(|sum| granted(recomputed(sum, move |sum| again(sum, &attend))));
                self.with(|layer| feed(layer, x));
            }
        }
    }
}
