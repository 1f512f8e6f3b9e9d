//! What is done before and after a layer runs.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use vr1_torch::granted;

/// Which way a pass goes through a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Forwards.
    Forward,
    /// Backwards: the layer is run again for it, and its gradients follow.
    Backward,
}

/// What a layer cannot run without: its parameters brought to where it runs, say. A layer with a hook keeps nothing for its backward pass but
/// what goes in.
pub trait LayerHook: Debug + Send + Sync {
    /// Before the layer runs.
    ///
    /// # Errors
    /// If it cannot run.
    fn enter(&self, run: Run) -> vr1_torch::Result<()>;

    /// After it ran forwards, and after it failed; where it was not entered, this is nothing.
    fn leave(&self);

    /// After a backward pass has been through it: the gradients of its parameters are there. It is left then.
    ///
    /// # Errors
    /// If nothing can become of the gradients.
    fn learnt(&self) -> vr1_torch::Result<()>;

    /// Whether it stands for somebody who has the layers, so that nobody else can.
    fn is_taken(&self) -> bool {
        true
    }
}

/// The hook of a layer whose parameters lie each at one of several processes, and whom nobody brings together: it cannot run.
#[derive(Debug)]
pub struct Scattered {
    /// The layer's place.
    pub place: String,
}

impl Scattered {
    /// Why it cannot run.
    pub fn error(&self) -> vr1_torch::Error {
        let place = &self.place;
        vr1_torch::Error::Layer(format!(
            "{place}: its parameters lie each at one of several processes (`sharding: zero3`), which bring them together when all ask for \
             it"
        ))
    }
}

impl LayerHook for Scattered {
    fn enter(&self, _: Run) -> vr1_torch::Result<()> {
        Err(self.error())
    }

    fn leave(&self) {}

    fn learnt(&self) -> vr1_torch::Result<()> {
        Err(self.error())
    }

    fn is_taken(&self) -> bool {
        false
    }
}

/// Where the hook of a layer is, of whoever shares its parameters too: a model that is [derived](crate::Derived) from another has the other's.
#[derive(Debug, Clone, Default)]
pub struct Hooked(Arc<Mutex<Option<Arc<dyn LayerHook>>>>);

impl Hooked {
    /// The hook.
    pub fn get(&self) -> Option<Arc<dyn LayerHook>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has this hook from here on, or none.
    pub fn set(&self, hook: Option<Arc<dyn LayerHook>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = hook;
    }
}

/// A layer that was entered, and is left with this.
pub(crate) struct Inside(Option<Arc<dyn LayerHook>>);

impl Inside {
    /// Enters.
    ///
    /// # Panics
    /// If the hook says that the layer cannot run.
    pub(crate) fn enter(hook: Option<Arc<dyn LayerHook>>, run: Run) -> Self {
        if let Some(hook) = &hook {
            granted(hook.enter(run));
        }
        Self(hook)
    }

    /// It is left by another.
    pub(crate) fn stay(mut self) {
        self.0 = None;
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(hook) = &self.0 {
            hook.leave();
        }
    }
}

/// What is read of one layer's parameters after the other's: a layer is left for the next.
#[derive(Debug, Default)]
pub(crate) struct Tour(Mutex<Option<Arc<dyn LayerHook>>>);

impl Tour {
    /// Comes to parameters of a layer with this hook, or of none.
    ///
    /// # Panics
    /// As [`Inside::enter`].
    pub(crate) fn come_to(&self, hook: Option<&Arc<dyn LayerHook>>) {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |at: &Arc<dyn LayerHook>| hook.is_some_and(|hook| Arc::ptr_eq(at, hook));
        if at.as_ref().is_some_and(same) {
            return;
        }
        if let Some(before) = at.take() {
            before.leave();
        }
        if let Some(hook) = hook {
            granted(hook.enter(Run::Forward));
            *at = Some(hook.clone());
        }
    }
}

impl Drop for Tour {
    fn drop(&mut self) {
        self.come_to(None);
    }
}
