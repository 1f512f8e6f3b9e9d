use std::fmt::Display;
use std::sync::Arc;

use tch::Tensor;

use super::Loader;
use crate::blocks::blocks;
use crate::lora::Lora;
use crate::parameters::{LORA_A, LORA_B, is_adapter};
use crate::{Hooked, Init, Scattered, Stored};

/// A place in the tree of parameter names, `model.layers.3.self_attn` say.
#[derive(Debug, Clone)]
pub struct Path<'a> {
    pub(super) loader: &'a Loader,
    pub(super) prefix: String,
    pub(super) idle: bool,
}

impl Path<'_> {
    /// The place `name` below this one.
    #[must_use]
    pub fn sub(&self, name: impl Display) -> Self {
        Self { prefix: self.join(name), ..self.clone() }
    }

    /// The same place for parameters that nothing is computed with: files have them and get them again, and they are never trained.
    #[must_use]
    pub fn idle(&self) -> Self {
        Self { idle: true, ..self.clone() }
    }

    /// The parameter `name` at this place, of exactly this shape.
    pub fn get(&self, name: &str, shape: &[i64], init: Init) -> Tensor {
        self.get_stored(name, shape, init, Stored::Whole)
    }

    /// The same where files hold it as `stored` says.
    pub fn get_stored(&self, name: &str, shape: &[i64], init: Init, stored: Stored) -> Tensor {
        let name = self.join(name);
        self.mark(&name);
        self.loader.get(name, shape, init, stored)
    }

    fn mark(&self, name: &str) {
        if self.idle {
            self.loader.state.borrow_mut().idle.insert(name.to_owned());
        }
    }

    /// The parameter `name` at each of the `places` below this one, each of its number of rows `[rows, rest…]`. They adjoin in
    /// memory, whatever the model is made of: [`joint`](crate::adjoining::joint) sees one tensor in them.
    pub(crate) fn get_adjoining(&self, places: &[(&str, i64)], name: &str, rest: &[i64], init: Init) -> Vec<Tensor> {
        let part = |&(place, rows): &(&str, i64)| (self.sub(place).join(name), [&[rows][..], rest].concat());
        self.loader.get_adjoining(&places.iter().map(part).collect::<Vec<_>>(), init)
    }

    /// Says that there is a layer at this place that is held by itself: where its hook is.
    pub(crate) fn layer(&self) -> Hooked {
        let hooked = self.loader.hooks.get(&self.prefix).cloned().unwrap_or_default();
        self.loader.state.borrow_mut().layers.push((self.prefix.clone(), hooked.clone()));
        hooked
    }

    /// Says that the layer at this place is made, whose hook is there.
    pub(crate) fn made(&self, hooked: &Hooked) {
        let Some((rank, shares)) = &self.loader.share else { return };
        hooked.set(Some(Arc::new(Scattered { place: self.prefix.clone() })));
        let mut state = self.loader.state.borrow_mut();
        let below = |name: &str| name.strip_prefix(&self.prefix).is_some_and(|rest| rest.starts_with('.'));
        let own = state.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        let blocks = blocks(own.filter(|(name, _)| below(name) && !is_adapter(name)));
        let freed = blocks.and_then(|blocks| {
            let owners = shares.borrow_mut().of_next(&blocks.iter().map(|block| block.bytes).collect::<Vec<_>>());
            let mut others = blocks.iter().zip(owners).filter(|(_, owner)| owner != rank);
            Ok(others.try_for_each(|(block, _)| block.storage.free())?)
        });
        if let Err(error) = freed {
            state.failure.get_or_insert(error);
        }
    }

    /// Says that the parameter `name` at this place is the one called `of`; files may hold it a second time, the same.
    pub fn tie(&self, name: &str, of: &str) {
        self.loader.state.borrow_mut().ties.push((self.join(name), of.to_owned()));
    }

    /// The adaptation of the linear layer at this place, if it has one.
    pub(crate) fn lora(&self, inputs: i64, outputs: i64) -> Option<Lora> {
        let adapter = self.loader.adapter.as_ref()?;
        let names = [self.loader.names.published(&self.prefix), self.loader.names.today(&self.prefix)];
        let picked = adapter.picker.picks(&names);
        self.loader.state.borrow_mut().linear.push(names);
        let get = |name: &str, shape: &[i64], init| {
            let name = self.join(name);
            self.mark(&name);
            self.loader.get_adapter(&adapter.source, name, shape, init)
        };
        let rank = adapter.config.rank;
        // PEFT's start: A as a linear layer starts, B zero.
        let bound = (1.0 / inputs as f64).sqrt();
        picked.then(|| Lora {
            a: get(LORA_A, &[rank, inputs], Init::Uniform(bound)),
            b: get(LORA_B, &[outputs, rank], Init::Zeros),
            scale: adapter.config.scale(),
            dropout: adapter.config.dropout,
        })
    }

    fn join(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}
