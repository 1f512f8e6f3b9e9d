//! A backbone of the user's own: another one, with a count of what it is asked.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};
use vr1_nn::{Derived, GrowingCache, Parameters, Prefix, Recompute};
use vr1_processor::{Patches, Prompt};
use vr1_vlm::{Backbone, Batch, Features, Result};

/// What a backbone was asked.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The pictures that it encoded, each as often as it did.
    pub(crate) encoded: RefCell<Vec<*const Patches>>,
    /// How many batches it scored.
    pub(crate) scored: Cell<usize>,
    /// That of the models derived from it.
    pub(crate) derived: Option<Rc<Self>>,
}

impl Tally {
    pub(crate) fn derived(&self) -> &Self {
        self.derived.as_deref().unwrap()
    }

    /// How many pictures were encoded since it was last asked.
    pub(crate) fn take_encoded(&self) -> usize {
        self.encoded.take().len()
    }

    /// How many batches were scored since it was last asked.
    pub(crate) fn take_scored(&self) -> usize {
        self.scored.take()
    }
}

#[derive(Debug)]
struct Counting {
    inner: Rc<dyn Backbone>,
    tally: Rc<Tally>,
}

/// A model and what it is asked from here on.
pub(crate) fn counted(inner: impl Backbone + 'static) -> (Rc<dyn Backbone>, Rc<Tally>) {
    let tally = Rc::new(Tally { derived: Some(Rc::default()), ..Tally::default() });
    (Rc::new(Counting { inner: Rc::new(inner), tally: tally.clone() }), tally)
}

impl Backbone for Counting {
    fn parameters(&self) -> &Parameters {
        self.inner.parameters()
    }

    fn train(&self, freeze: &[String]) -> Result<Vec<(String, Tensor)>> {
        self.inner.train(freeze)
    }

    fn lm_head(&self) -> &Tensor {
        self.inner.lm_head()
    }

    fn device(&self) -> Device {
        self.inner.device()
    }

    fn kind(&self) -> Kind {
        self.inner.kind()
    }

    fn max_tokens(&self) -> usize {
        self.inner.max_tokens()
    }

    fn key_value_bytes(&self) -> usize {
        self.inner.key_value_bytes()
    }

    fn prompt_bytes(&self, prompt: &Prompt) -> usize {
        self.inner.prompt_bytes(prompt)
    }

    fn check(&self, prompt: &Prompt) -> Result<()> {
        self.inner.check(prompt)
    }

    fn encode(&self, media: &[Arc<Patches>], recompute: Recompute) -> Result<Vec<Features>> {
        self.tally.encoded.borrow_mut().extend(media.iter().map(Arc::as_ptr));
        self.inner.encode(media, recompute)
    }

    fn score(&self, batch: &Batch, features: &[&Features]) -> Result<Tensor> {
        self.tally.scored.set(self.tally.scored.get() + 1);
        self.inner.score(batch, features)
    }

    fn prefill(&self, prompts: &[&Prompt]) -> Result<(Tensor, Prefix)> {
        self.inner.prefill(prompts)
    }

    fn step(&self, prefix: &Prefix, cache: &mut GrowingCache, ids: &Tensor) -> Tensor {
        self.inner.step(prefix, cache, ids)
    }

    fn derive(&self, derived: Derived) -> Result<Rc<dyn Backbone>> {
        let tally = self.tally.derived.clone().unwrap_or_default();
        Ok(Rc::new(Self { inner: self.inner.derive(derived)?, tally }))
    }

    fn save(&self, dir: &Path, kind: Kind) -> Result<()> {
        self.inner.save(dir, kind)
    }

    fn save_adapter(&self, dir: &Path, base: Option<&str>) -> Result<()> {
        self.inner.save_adapter(dir, base)
    }
}
