//! Whose turn it is. Ranks differ in what they run: in the number of their micro-batches, in whether those show anything, in whether one
//! failed. What a layer needs, all must give. So before anything is given each rank says what it waits for, or that it waits for nothing;
//! what comes first in the order of a pass is given by all, whoever waits for it, until no rank waits for anything.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::State;
use crate::Result;
use crate::reduce::{BUCKET, at_owners, brought};
use crate::world::World;

/// Which part of a micro-batch is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// The model, forwards.
    #[default]
    Model,
    /// What it is compared with.
    Reference,
    /// The model, backwards.
    Backward,
}

/// What a rank waits for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Wish {
    /// When it comes: the micro-batch, the part of it, and the place in that. Two wishes of one time are one.
    pub(super) at: (usize, Stage, usize),
    pub(super) layer: usize,
    /// Which of its trained parameters this rank has a gradient of, where those are to be summed; else its parameters are to be brought.
    pub(super) present: Option<Vec<bool>>,
}

impl State {
    /// Has parameters of a layer brought, or gradients of it summed, in turn; all that others wait for first is given meanwhile. Without a wish,
    /// gives until nobody waits for anything.
    pub(super) fn turn(&mut self, world: &World, mine: Option<&Wish>, gradients: Vec<Option<Tensor>>) -> Result<()> {
        let mut gradients = Some(gradients);
        loop {
            let wishes: Vec<Option<Wish>> = world.gather(mine.cloned())?;
            let Some(next) = wishes.iter().flatten().min_by_key(|wish| wish.at) else { return Ok(()) };
            let ours = mine.is_some_and(|mine| mine.at == next.at);
            match &next.present {
                None => self.gather(next.layer, ours)?,
                Some(first) => {
                    let mut present = vec![false; first.len()];
                    for other in wishes.iter().flatten().filter(|wish| wish.at == next.at) {
                        let own = other.present.iter().flatten();
                        present.iter_mut().zip(own).for_each(|(any, own)| *any |= own);
                    }
                    let own = if ours { gradients.take() } else { None };
                    self.reduce(next.layer, &present, own.unwrap_or_default())?;
                }
            }
            if ours {
                return Ok(());
            }
        }
    }

    /// Brings a layer's parameters from the ranks that they belong to, to those that take them.
    pub(super) fn gather(&mut self, layer: usize, takes: bool) -> Result<()> {
        let begun = Instant::now();
        let layer = &self.layers[layer];
        let rows = layer.blocks.iter().enumerate().map(|(place, block)| match takes || layer.shards.has(place) {
            true => Ok(Some(block.storage.bytes()?)),
            false => Ok(None),
        });
        let rows: Vec<Option<Tensor>> = rows.collect::<Result<_>>()?;
        let sizes = layer.blocks.iter().map(|block| block.bytes as i64).enumerate();
        self.told.gathered += brought(&layer.shards, &rows, sizes, 4 * BUCKET as i64, self.device)?;
        self.told.gathering += begun.elapsed();
        Ok(())
    }

    /// Sums the gradients of a layer's trained parameters at the ranks that these belong to, and adds them to those of micro-batches before.
    fn reduce(&mut self, layer: usize, present: &[bool], own: Vec<Option<Tensor>>) -> Result<()> {
        let begun = Instant::now();
        let places = &self.layers[layer].trained;
        let mut gradients: Vec<Option<Tensor>> = self.parameters.iter().map(|_| None).collect();
        let mut any = vec![false; self.parameters.len()];
        for (&place, gradient) in places.iter().zip(own) {
            gradients[place] = gradient;
        }
        places.iter().zip(present).for_each(|(&place, &present)| any[place] = present);
        let (sums, bytes) = at_owners(&self.shards, &self.parameters, gradients, &any, BUCKET as i64)?;
        for (place, sum) in sums.into_iter().enumerate() {
            let Some(sum) = sum else { continue };
            match &mut self.sums[place] {
                Some(before) => drop(before.f_add_(&sum)?),
                none => *none = Some(sum),
            }
        }
        self.told.reduced += bytes;
        self.told.reducing += begun.elapsed();
        Ok(())
    }
}
