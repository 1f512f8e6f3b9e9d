//! Bytes of tensors that one of several ranks holds of layers whose parameters and gradients lie each at one of them.

use vr1_nn::LayerShares;

use super::memory::{Held, Phase, Setting};
use super::shape::{ModelShape, Share};

/// Bytes that are brought at a time.
const AT_ONCE: u64 = 4 << 23;

/// Numbers of what lies at one rank each, of a rank that has the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Apart {
    /// Parameters that it holds: its own of layers, and all that are outside of them.
    pub(crate) held: u64,
    /// What it updates.
    pub(crate) share: Share,
    /// Those of layers that it updates.
    own: u64,
    /// Those outside of layers that are trained.
    outside: u64,
    /// Parameters of the largest layer, and those of them that are trained.
    layer: u64,
    layer_trained: u64,
}

impl ModelShape {
    /// What lies at one of so many ranks each.
    pub(super) fn apart(&self, ranks: usize) -> Apart {
        let (mut shares, ranks) = (LayerShares::new(ranks), ranks.max(1));
        let (mut held, mut own, mut updated) = (vec![0; ranks], vec![0; ranks], vec![Share::default(); ranks]);
        let (mut of_layers, mut trained, mut largest) = (0, 0, (0, 0));
        for layer in &self.each_layer {
            let sizes = [&layer.trained[..], &layer.frozen[..]].concat();
            for (place, (owner, size)) in shares.of_next(&sizes).into_iter().zip(&sizes).enumerate() {
                held[owner] += *size as u64;
                if place < layer.trained.len() {
                    own[owner] += *size as u64;
                    updated[owner].add(*size);
                }
            }
            let sum = |sizes: &[usize]| sizes.iter().sum::<usize>() as u64;
            let (all, learning) = (sum(&sizes), sum(&layer.trained));
            (of_layers, trained) = (of_layers + all, trained + learning);
            largest = largest.max((all, learning));
        }
        let loads: Vec<usize> = updated.iter().map(|share| share.trained as usize).collect();
        let rest = LayerShares::from(loads).of_next(&self.outside);
        rest.into_iter().zip(&self.outside).for_each(|(owner, size)| updated[owner].add(*size));
        let most = |loads: Vec<u64>| loads.into_iter().max().unwrap_or(0);
        Apart {
            held: self.parameters - of_layers + most(held),
            share: updated.into_iter().max_by_key(|share| share.trained).unwrap_or_default(),
            own: most(own),
            outside: self.trained - trained,
            layer: largest.0,
            layer_trained: largest.1,
        }
    }
}

impl Setting<'_> {
    /// Bytes of the weights that are held all the time.
    pub(super) fn weights(&self) -> u64 {
        self.wide * self.apart.map_or(self.shape.parameters, |apart| apart.held)
    }

    /// What is brought for who runs over all layers again and again: all of the model.
    pub(super) fn brought(&self) -> Held {
        let bytes = self.wide * self.apart.map_or(0, |apart| self.shape.parameters - apart.held);
        Held { what: "parameters of other processes", bytes }
    }

    /// What is compared with is copied, of all parameters that are trained.
    pub(crate) fn copying(&self) -> Option<Phase> {
        let copies = self.apart.is_some() && self.reference && self.shape.adapter == 0;
        copies.then(|| self.phase("reference", [self.brought()]))
    }

    /// A layer that is brought for a while, and what is on its way: on a CPU what is given to each and what is had of all.
    pub(super) fn layer_brought(&self) -> Held {
        let bytes = self.apart.map_or(0, |apart| {
            let layer = self.wide * apart.layer;
            layer + if self.on_cpu { 2 * layer.min(AT_ONCE) } else { layer.min(AT_ONCE) }
        });
        Held { what: "parameters of a layer", bytes }
    }

    /// Numbers of gradients that are kept until all micro-batches are done.
    pub(super) fn summed_later(&self) -> u64 {
        self.apart.map_or(self.shape.trained, |apart| apart.outside)
    }

    /// Bytes of the sums of gradients of layers that are this rank's, and of a layer's gradients on their way there.
    pub(super) fn summed_at_once(&self) -> [u64; 2] {
        let Some(apart) = self.apart else { return [0; 2] };
        [4 * apart.own, (self.trained_wide() + if self.on_cpu { 8 } else { 4 }) * apart.layer_trained]
    }
}
