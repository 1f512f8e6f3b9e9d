//! A backbone that writes down how much it is asked for at a time.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};
use vr1_nn::{Derived, GrowingCache, Parameters, Prefix, Recompute};
use vr1_processor::{Patches, Prompt};
use vr1_vlm::{Backbone, Batch, Features, Result};

/// What one step held: tokens of prompts, rows, and the room of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) prompt_tokens: u64,
    pub(crate) rows: u64,
    pub(crate) room: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Prompts that were run over.
    pub(crate) prefilled: usize,
    pub(crate) steps: Vec<Held>,
}

#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) inner: Rc<dyn Backbone>,
    pub(crate) log: RefCell<Log>,
}

impl Backbone for Watched {
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
        self.inner.encode(media, recompute)
    }

    fn score(&self, batch: &Batch, features: &[&Features]) -> Result<Tensor> {
        self.inner.score(batch, features)
    }

    fn prefill(&self, prompts: &[&Prompt]) -> Result<(Tensor, Prefix)> {
        self.log.borrow_mut().prefilled += prompts.len();
        self.inner.prefill(prompts)
    }

    fn step(&self, prefix: &Prefix, cache: &mut GrowingCache, ids: &Tensor) -> Tensor {
        let (prompt_tokens, rows, room) = (prefix.tokens() as u64, ids.size()[0] as u64, cache.room() as u64);
        assert!(cache.length() < cache.room(), "a row writes over another");
        self.log.borrow_mut().steps.push(Held { prompt_tokens, rows, room });
        self.inner.step(prefix, cache, ids)
    }

    fn derive(&self, derived: Derived) -> Result<Rc<dyn Backbone>> {
        self.inner.derive(derived)
    }

    fn save(&self, dir: &Path, kind: Kind) -> Result<()> {
        self.inner.save(dir, kind)
    }

    fn save_adapter(&self, dir: &Path, base: Option<&str>) -> Result<()> {
        self.inner.save_adapter(dir, base)
    }
}
