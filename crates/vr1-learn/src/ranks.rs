//! A step that several ranks take together: each works on its share, and all know the whole.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tch::Tensor;
use vr1_rollout::Group;

use super::known::ToldEntry;
use super::learner::Learner;
use super::part::Part;
use super::pass::Worked;
use super::reduce::summed;
use super::routed::ToldSums;
use super::stats::ToldStats;
use crate::{Coupling, Error, Result, Stats};

/// What a rank tells the others of its pass.
#[derive(Serialize, Deserialize)]
enum Told {
    NotFinite(String),
    Worked {
        /// Which parameters have a gradient.
        present: Vec<bool>,
        stats: ToldStats,
        sampler: ToldStats,
        routed: Option<ToldSums>,
        logprobs: Vec<Vec<u32>>,
        known: Vec<ToldEntry>,
    },
}

impl Learner {
    /// The run of `groups` that this rank works on: as heavy as the others'. What a loss looks at together is all rank 0's.
    pub(crate) fn share(&self, groups: &[Group], coupling: Coupling) -> Range<usize> {
        if self.world.is_alone() {
            return 0..groups.len();
        }
        if coupling == Coupling::Step {
            return if self.world.is_first() { 0..groups.len() } else { 0..0 };
        }
        let tokens = |group: &Group| {
            group.prompt().len() + group.sequences().iter().map(|sequence| sequence.tail().len()).sum::<usize>()
        };
        let weights: Vec<usize> = groups.iter().map(tokens).collect();
        self.world.shares(&weights).swap_remove(self.world.rank())
    }

    /// Micro-batches as they are, with the tokens and the number of those of all ranks.
    pub(crate) fn counted<'a>(&self, parts: Result<Vec<Part<'a>>>) -> Result<(Vec<Part<'a>>, usize, usize)> {
        let count =
            |parts: &Vec<Part<'_>>| (parts.iter().map(|part| part.batch.input_ids.len()).sum::<usize>(), parts.len());
        let (counted, parts) = match parts {
            Ok(parts) => (Ok(count(&parts)), parts),
            Err(error) => (Err(error), Vec::new()),
        };
        let all: Vec<(usize, usize)> = self.world.all(counted)?;
        Ok((parts, all.iter().map(|(tokens, _)| tokens).sum(), all.iter().map(|(_, parts)| parts).sum()))
    }

    /// What came of a pass on all ranks: the sums of gradients, and what was measured; `reduced` counts the bytes that were summed. Where a
    /// rank failed all do, and a number that is not finite on one is so on all.
    pub(crate) fn joined(
        &mut self,
        own: Result<(Vec<Option<Tensor>>, Worked)>,
        step: u64,
        reduced: &mut u64,
    ) -> Result<(Vec<Option<Tensor>>, Worked)> {
        if self.world.is_alone() {
            return own;
        }
        let (told, gradients) = match own {
            Ok((gradients, worked)) => (self.told(&worked, &gradients), gradients),
            Err(Error::NotFinite { what, .. }) => (Ok(Told::NotFinite(what)), Vec::new()),
            Err(error) => (Err(error), Vec::new()),
        };
        let (world, mut times) = (self.world.clone(), std::mem::take(&mut self.times));
        // Until the slowest is done.
        let told = times.of("waiting", || world.all(told));
        let summed = told.and_then(|told| {
            let (whole, present) = self.whole_of(told, step)?;
            let (parameters, shards) = (self.optimizer.parameters(), self.optimizer.shards());
            let (mut gradients, bytes) =
                times.of("reduce", || summed(&world, shards, parameters, gradients, &present))?;
            *reduced += bytes;
            // Those of layers that lie apart were summed on the way.
            let of_layers = gradients.iter_mut().zip(self.layers.take_sums());
            of_layers.for_each(|(gradient, sum)| *gradient = sum.or(gradient.take()));
            Ok((gradients, whole))
        });
        self.times = times;
        drop(self.layers.take_sums());
        summed
    }

    fn told(&mut self, worked: &Worked, gradients: &[Option<Tensor>]) -> Result<Told> {
        Ok(Told::Worked {
            present: gradients.iter().map(Option::is_some).collect(),
            stats: worked.stats.told(),
            sampler: worked.sampler.told(),
            routed: worked.routed.told()?,
            logprobs: worked.logprobs.iter().map(|list| bits(list)).collect(),
            known: self.compared.known.take_fresh(),
        })
    }

    /// What all ranks measured, in the order of ranks, and which parameters have a gradient on any.
    fn whole_of(&mut self, told: Vec<Told>, step: u64) -> Result<(Worked, Vec<bool>)> {
        let (mut whole, mut any) = (Worked::default(), Vec::new());
        for told in told {
            match told {
                Told::NotFinite(what) => return Err(Error::NotFinite { what, step }),
                Told::Worked { present, stats, sampler, routed, logprobs, known } => {
                    any.resize(any.len().max(present.len()), false);
                    any.iter_mut().zip(present).for_each(|(any, present)| *any |= present);
                    whole.stats.fold(&Stats::of(stats));
                    whole.sampler.fold(&Stats::of(sampler));
                    whole.routed.fold(routed);
                    whole.logprobs.extend(logprobs.into_iter().map(of_bits));
                    self.compared.known.learn(known);
                }
            }
        }
        Ok((whole, any))
    }
}

/// Numbers as JSON can hold them, which has no NaN.
pub(crate) fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// The same back.
pub(crate) fn of_bits(bits: Vec<u32>) -> Vec<f32> {
    bits.into_iter().map(f32::from_bits).collect()
}
