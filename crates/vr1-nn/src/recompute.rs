use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tch::Tensor;
use vr1_torch::{gradients_collected, granted, recomputed_with};

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
        self.halves_beside(recompute, x, &[], move |layer, x, _| attend(layer, x), feed);
    }

    /// The same where attention reads what lies `beside` the residual stream too, which others made and of which gradients may be
    /// collected.
    ///
    /// # Panics
    /// As [`halves`](Self::halves).
    pub fn halves_beside(
        &self,
        recompute: Recompute,
        x: &mut Residual,
        beside: &[&Tensor],
        attend: impl Fn(&L, &mut Residual, &[Tensor]) + Send + 'static,
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
                attend(layer, x, &beside.iter().map(|x| x.shallow_clone()).collect::<Vec<_>>());
                feed(layer, x);
            }),
            Recompute::Layers => {
                let both = move |sum: &Tensor, beside: &[Tensor]| {
                    again(sum, &|layer, x| {
                        attend(layer, x, beside);
                        feed(layer, x);
                    })
                };
                x.through(|sum| granted(recomputed_with(sum, beside, both)));
            }
            Recompute::Attention => {
                let first = move |sum: &Tensor, beside: &[Tensor]| again(sum, &|layer, x| attend(layer, x, beside));
                x.through(|sum| granted(recomputed_with(sum, beside, first)));
                self.with(|layer| feed(layer, x));
            }
        }
    }
}
