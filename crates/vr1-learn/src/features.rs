use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use vr1_processor::Patches;
use vr1_vlm::{Backbone, Batch, Features};

use crate::Result;

/// Pictures that were encoded in this step: where nothing of the tower is trained, each is encoded once, however many
/// micro-batches and models read it.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    kept: HashMap<*const Patches, Rc<Features>>,
}

impl Encoded {
    /// The features of a batch's media, in order. They carry gradients where the tower is trained and gradients are
    /// collected.
    pub(crate) fn of(&mut self, model: &dyn Backbone, batch: &Batch) -> Result<Vec<Rc<Features>>> {
        let key = |patches: &Arc<Patches>| Arc::as_ptr(patches);
        let mut missing: Vec<Arc<Patches>> = Vec::new();
        for media in &batch.media {
            let known =
                self.kept.contains_key(&key(&media.patches)) || missing.iter().any(|m| Arc::ptr_eq(m, &media.patches));
            if !known {
                missing.push(media.patches.clone());
            }
        }
        let made = model.encode(&missing)?.into_iter().map(Rc::new);
        let made: HashMap<*const Patches, Rc<Features>> = missing.iter().map(key).zip(made).collect();
        let find = |patches: &Arc<Patches>| made.get(&key(patches)).or_else(|| self.kept.get(&key(patches))).cloned();
        let found = batch.media.iter().filter_map(|media| find(&media.patches)).collect();
        self.keep(made);
        Ok(found)
    }

    /// Keeps what passes no gradient on; only what is made while gradients are collected shows whether it would.
    fn keep(&mut self, made: HashMap<*const Patches, Rc<Features>>) {
        if gradients_are_collected() {
            self.kept.extend(made.into_iter().filter(|(_, features)| !features.tokens.requires_grad()));
        }
    }
}

fn gradients_are_collected() -> bool {
    let probe = tch::Tensor::from(1.0f32).set_requires_grad(true);
    (probe * 1.0).requires_grad()
}
