use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use vr1_nn::Recompute;
use vr1_processor::Patches;
use vr1_torch::gradients_collected;
use vr1_vlm::{Backbone, Batch, Features};

use crate::Result;

type Kept = HashMap<*const Patches, Rc<Features>>;

/// Pictures that were encoded in this step, each once: the model's where nothing of its tower is trained, and the
/// reference's, which does not move within a step. A reference that has the model's tower takes what the model made.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    of_model: Kept,
    of_reference: Kept,
    shared: bool,
    recompute: Recompute,
}

impl Encoded {
    /// Nothing yet, of `model` and what it is compared with.
    pub(crate) fn new(model: &dyn Backbone, reference: Option<&dyn Backbone>, recompute: Recompute) -> Self {
        let shared = reference.is_some_and(|reference| share_what_is_frozen(model, reference));
        Self { shared, recompute, ..Self::default() }
    }

    /// The features of a batch's media, in order, made by the model that is trained. They carry gradients where its tower
    /// is trained and gradients are collected.
    pub(crate) fn of_model(&mut self, model: &dyn Backbone, batch: &Batch) -> Result<Vec<Rc<Features>>> {
        let missing = missing(batch, &[&self.of_model]);
        if missing.is_empty() {
            return Ok(found(batch, &[&self.of_model]));
        }
        let collected = gradients_collected();
        // Only features that could carry a gradient show whether they would.
        let mut passing = Kept::new();
        for (patches, features) in missing.iter().zip(tch::with_grad(|| model.encode(&missing, self.recompute))?) {
            let trained = features.iter().any(tch::Tensor::requires_grad);
            let kept = if trained { &mut passing } else { &mut self.of_model };
            let features = if collected { features } else { features.detached() };
            kept.insert(Arc::as_ptr(patches), Rc::new(features));
        }
        Ok(found(batch, &[&self.of_model, &passing]))
    }

    /// The same, made by what the model is compared with.
    pub(crate) fn of_reference(&mut self, reference: &dyn Backbone, batch: &Batch) -> Result<Vec<Rc<Features>>> {
        let nothing = Kept::new();
        let shared = if self.shared { &self.of_model } else { &nothing };
        let missing = missing(batch, &[shared, &self.of_reference]);
        if !missing.is_empty() {
            let made = tch::no_grad(|| reference.encode(&missing, Recompute::None))?.into_iter().map(Rc::new);
            self.of_reference.extend(missing.iter().map(Arc::as_ptr).zip(made));
        }
        Ok(found(batch, &[shared, &self.of_reference]))
    }
}

/// The media of a batch that are in none of these, each once.
fn missing(batch: &Batch, kept: &[&Kept]) -> Vec<Arc<Patches>> {
    let mut missing: Vec<Arc<Patches>> = Vec::new();
    for media in &batch.media {
        let known = kept.iter().any(|kept| kept.contains_key(&Arc::as_ptr(&media.patches)));
        if !known && !missing.iter().any(|other| Arc::ptr_eq(other, &media.patches)) {
            missing.push(media.patches.clone());
        }
    }
    missing
}

fn found(batch: &Batch, kept: &[&Kept]) -> Vec<Rc<Features>> {
    let find = |patches: &Arc<Patches>| kept.iter().find_map(|kept| kept.get(&Arc::as_ptr(patches))).cloned();
    batch.media.iter().filter_map(|media| find(&media.patches)).collect()
}

/// Whether all that is frozen in `model` is the same memory in `reference`, which has nothing else beside: then features
/// without a gradient, made by frozen parameters alone, are those of both.
fn share_what_is_frozen(model: &dyn Backbone, reference: &dyn Backbone) -> bool {
    let (own, others) = (model.parameters(), reference.parameters());
    let frozen = own.iter().filter(|(_, tensor)| !tensor.requires_grad());
    let same =
        |(name, tensor): (&str, &tch::Tensor)| others.get(name).is_some_and(|o| o.data_ptr() == tensor.data_ptr());
    frozen.into_iter().all(same) && others.iter().all(|(name, _)| own.get(name).is_some())
}
