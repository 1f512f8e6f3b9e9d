use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tch::Tensor;
use vr1_torch::{Passed, gradients_collected, granted, recomputed_with, recomputed_with_end};

use crate::hook::Inside;
use crate::{Hooked, LayerHook, Pass, Path, Residual, Run};

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
pub struct Held<L> {
    layer: Arc<Mutex<L>>,
    hooked: Hooked,
}

impl<L> Clone for Held<L> {
    fn clone(&self) -> Self {
        Self { layer: self.layer.clone(), hooked: self.hooked.clone() }
    }
}

impl<L: Send + 'static> Held<L> {
    /// Holds the layer that `new` makes at `path`; among [its model's](crate::Parameters::layers) it is the next to run.
    pub fn new(path: &Path<'_>, new: impl FnOnce(&Path<'_>) -> L) -> Self {
        let hooked = path.layer();
        let layer = Arc::new(Mutex::new(new(path)));
        path.made(&hooked);
        Self { layer, hooked }
    }

    /// Runs `work` on the layer.
    ///
    /// # Panics
    /// If it has a hook, and that says that it cannot run.
    pub fn with<T>(&self, work: impl FnOnce(&L) -> T) -> T {
        let _inside = Inside::enter(self.hooked.get(), Run::Forward);
        self.entered(work)
    }

    fn entered<T>(&self, work: impl FnOnce(&L) -> T) -> T {
        // A panic leaves a layer as it was: nothing in it changes.
        work(&self.layer.lock().unwrap_or_else(PoisonError::into_inner))
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
        let (held, hook) = (self.clone(), self.hooked.get());
        let recompute = match gradients_collected() {
            false => Recompute::None,
            // What was brought for it is gone after it.
            true if hook.is_some() => Recompute::Layers,
            true => recompute,
        };
        let again = move |input: &Tensor, work: &dyn Fn(&L, &mut Residual)| {
            let mut x = Residual::new(input, Pass::Scoring);
            held.entered(|layer| work(layer, &mut x));
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
                x.through(|sum| match hook {
                    None => granted(recomputed_with(sum, beside, both)),
                    Some(hook) => between(&hook, sum, beside, both),
                });
            }
            Recompute::Attention => {
                let first = move |sum: &Tensor, beside: &[Tensor]| again(sum, &|layer, x| attend(layer, x, beside));
                x.through(|sum| granted(recomputed_with(sum, beside, first)));
                self.with(|layer| feed(layer, x));
            }
        }
    }
}

/// A layer that is run again for its backward pass, and has a hook.
fn between(
    hook: &Arc<dyn LayerHook>,
    sum: &Tensor,
    beside: &[&Tensor],
    both: impl Fn(&Tensor, &[Tensor]) -> Tensor + Send + 'static,
) -> Tensor {
    let (ran, inside, behind) = (AtomicBool::new(false), hook.clone(), hook.clone());
    let work = move |sum: &Tensor, beside: &[Tensor]| {
        let run = if ran.swap(true, Ordering::SeqCst) { Run::Backward } else { Run::Forward };
        let inside = Inside::enter(Some(inside.clone()), run);
        let out = both(sum, beside);
        if run == Run::Backward {
            // Its backward pass is to come.
            inside.stay();
        }
        out
    };
    let ended = move |passed: Passed| match passed {
        Passed::Whole => granted(behind.learnt()),
        Passed::BrokenOff => behind.leave(),
    };
    granted(recomputed_with_end(sum, beside, work, ended))
}
