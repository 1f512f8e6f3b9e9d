use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use tch::{Kind, Tensor};
use vr1_vlm::{Backbone, Batch, Piece};

use super::features::Encoded;
use super::known::{Known, Written};
use super::score::{SequenceLogprobs, lists, score};
use crate::{Error, Needs, ReferenceConfig, Result};

/// What a learner compares with: the reference, where one is kept, and what it said.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    reference: Option<Rc<dyn Backbone>>,
    /// Whether it is no longer the model that the learner began with.
    moved: bool,
    pub(crate) known: Known,
    /// Whether other ranks are told what is known.
    shared: bool,
    /// Of narrow parameters that move a little at a time, the f32 numbers that they are rounded from.
    wide: BTreeMap<String, Tensor>,
}

const WIDE: &str = "reference.safetensors";

impl Compared {
    /// Compares with `reference` from here on.
    pub(crate) fn set(&mut self, reference: Rc<dyn Backbone>, moved: bool) {
        let shared = self.shared;
        *self = Self { reference: Some(reference), moved, shared, ..Self::default() };
        self.share(shared);
    }

    /// Has other ranks be told what is known.
    pub(crate) fn share(&mut self, shared: bool) {
        self.shared = shared;
        if shared {
            self.known.tell();
        }
    }

    pub(crate) fn reference(&self) -> Option<&Rc<dyn Backbone>> {
        self.reference.as_ref()
    }

    pub(crate) fn moved(&self) -> Option<&Rc<dyn Backbone>> {
        self.reference.as_ref().filter(|_| self.moved)
    }

    /// The reference that something cannot do without.
    pub(crate) fn wanted(&self) -> Result<&Rc<dyn Backbone>> {
        self.reference.as_ref().ok_or(Error::NoReference)
    }

    /// What the reference says of a batch: a list for each sequence. Answers that nobody sampled come up again in the next
    /// epoch and are looked up then.
    pub(crate) fn logprobs(
        &mut self,
        pieces: &[Piece<'_>],
        batch: &Batch,
        encoded: &mut Encoded,
        unreachable: &Tensor,
        needs: &Needs,
    ) -> Result<Vec<SequenceLogprobs>> {
        let reference = self.wanted()?.clone();
        let written = Written::of(pieces, needs);
        if let Some(known) = written.as_ref().and_then(|written| self.known.get(written)) {
            return Ok(known);
        }
        let features = encoded.of_reference(reference.as_ref(), batch)?;
        let said = tch::no_grad(|| score(reference.as_ref(), batch, &features, unreachable, needs))?;
        let lists = lists(&said.logprobs, &batch.lengths)?;
        if let Some(written) = written {
            self.known.keep(written, &lists);
        }
        Ok(lists)
    }

    /// Moves the reference towards `model` after `done` steps, as `config` says.
    pub(crate) fn follow(&mut self, config: ReferenceConfig, model: &dyn Backbone, done: u64) {
        let (Some(reference), Some(share)) = (&self.reference, config.moves(done)) else { return };
        let trained = model.parameters().iter().filter(|(_, tensor)| tensor.requires_grad());
        tch::no_grad(|| {
            for (name, tensor) in trained {
                let Some(mut mine) = reference.parameters().get(name).map(Tensor::shallow_clone) else { continue };
                let tensor = tensor.to_kind(Kind::Float);
                if mine.kind() == Kind::Float {
                    let _ = mine.lerp_(&tensor, share);
                    continue;
                }
                // A small share of a narrow number's difference would be rounded away, step by step.
                let wide = self.wide.entry(name.to_owned()).or_insert_with(|| mine.to_kind(Kind::Float));
                let _ = wide.lerp_(&tensor, share);
                mine.copy_(wide);
            }
        });
        self.known.clear();
        self.moved = true;
    }

    /// Writes what was said, and what a narrow reference was rounded from, into `dir`.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        self.known.save(dir)?;
        if self.wide.is_empty() {
            return Ok(());
        }
        let wide: Vec<(&String, Tensor)> =
            self.wide.iter().map(|(name, tensor)| (name, tensor.to_device(tch::Device::Cpu))).collect();
        Ok(Tensor::write_safetensors(&wide, dir.join(WIDE))?)
    }

    /// What [`save`](Self::save) wrote, for [`take_up`](Self::take_up).
    pub(crate) fn read(&self, dir: &Path) -> Result<(Known, BTreeMap<String, Tensor>)> {
        let (known, path) = (Known::read(dir)?, dir.join(WIDE));
        if !path.is_file() {
            return Ok((known, BTreeMap::new()));
        }
        let broken = |reason: String| Error::State { path: path.clone(), reason };
        let mut wide = BTreeMap::new();
        for (name, tensor) in Tensor::read_safetensors(&path).map_err(|error| broken(error.to_string()))? {
            let Some(mine) = self.reference.as_ref().and_then(|reference| reference.parameters().get(&name)) else {
                return Err(broken(format!("the reference has no {name}")));
            };
            if tensor.size() != mine.size() {
                return Err(broken(format!("{name} is {:?}, should be {:?}", tensor.size(), mine.size())));
            }
            wide.insert(name, tensor.to_device(mine.device()));
        }
        Ok((known, wide))
    }

    pub(crate) fn take_up(&mut self, (known, wide): (Known, BTreeMap<String, Tensor>)) {
        (self.known, self.wide) = (known, wide);
        self.share(self.shared);
    }
}
