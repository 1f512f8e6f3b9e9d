//! What each of several ranks holds of what a parameter needs to learn.

use serde::{Deserialize, Serialize};
use vr1_nn::LayerShares;

use crate::world::World;
use crate::{Error, Result};

/// What the ranks of a run hold each a share of, and not each all of. The update is the same: of [`Zero2`](Self::Zero2) bit for bit, of
/// [`Zero3`](Self::Zero3) where no rank has more than one micro-batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharding {
    /// Nothing: every rank holds everything.
    #[default]
    None,
    /// Moments, f32 masters and summed gradients: stage 2 of ZeRO (Rajbhandari et al., [arXiv:1910.02054](https://arxiv.org/abs/1910.02054),
    /// section 5.2). A parameter belongs to one rank, which alone updates it and then gives it to all. Parameters themselves are held by
    /// every rank, and so is a rank's own gradient until it is summed.
    Zero2,
    /// The same, and parameters of layers, trained or not: stage 3 (section 5.3), layer by layer as PyTorch's FSDP2. Before a layer runs,
    /// forwards and again backwards, its parameters are brought to all, and given back after it; its gradients are summed at once. What is
    /// outside of layers (embeddings, output matrix, what leads into a tower and out of it) and adapters are held by every rank. Needs
    /// layers to be [recomputed](vr1_nn::Recompute::Layers).
    Zero3,
}

/// The rank that each of some tensors belongs to, by their sizes: the largest first, each to the rank that has the least so far. No rank gets
/// more than an even share and the largest tensor.
///
/// # Example
/// ```
/// assert_eq!(vr1_learn::owners(&[10, 90, 40, 50], 2), [0, 0, 1, 1]);
/// ```
pub fn owners(sizes: &[usize], ranks: usize) -> Vec<usize> {
    LayerShares::new(ranks).of_next(sizes)
}

/// Which rank holds what parameters need to learn: each all of it, or each its own.
#[derive(Debug, Clone)]
pub(crate) struct Shards {
    /// The ranks that hold it together; a world of one where each holds all.
    world: World,
    owners: Vec<usize>,
    /// Which lie at their owners alone, where any do.
    apart: Vec<bool>,
}

impl Shards {
    /// Parameters of these sizes, in a world.
    pub(crate) fn new(sharding: Sharding, sizes: &[usize], world: &World) -> Self {
        let world = match sharding {
            Sharding::None => World::default(),
            Sharding::Zero2 | Sharding::Zero3 => world.clone(),
        };
        Self { owners: owners(sizes, world.size()), apart: Vec::new(), world }
    }

    /// Parameters that belong to these ranks, of which some lie there alone.
    pub(crate) fn of(owners: Vec<usize>, apart: Vec<bool>, world: &World) -> Self {
        Self { owners, apart, world: world.clone() }
    }

    /// Whether the parameter at a place lies at its owner alone.
    pub(crate) fn is_apart(&self, place: usize) -> bool {
        self.apart.get(place).is_some_and(|apart| *apart)
    }

    /// The ranks that hold it together.
    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// Whether this rank holds it all.
    pub(crate) fn is_whole(&self) -> bool {
        self.world.is_alone()
    }

    /// Whether the parameter at a place is this rank's.
    pub(crate) fn has(&self, place: usize) -> bool {
        self.owners.get(place) == Some(&self.world.rank())
    }

    /// What this rank came to, where every rank did.
    ///
    /// # Errors
    /// If any did not.
    pub(crate) fn agreed<T>(&self, own: Result<T>) -> Result<T> {
        let (said, made) = match own {
            Ok(made) => (Ok(()), Some(made)),
            Err(error) => (Err(error), None),
        };
        self.world.all(said)?;
        made.ok_or_else(|| Error::Lost { rank: self.world.rank(), reason: "nothing was made".to_owned() })
    }

    /// What ranks exchange of the tensors at some places, of so many numbers each, when at most so many go at once.
    pub(crate) fn rounds(&self, places: impl Iterator<Item = (usize, i64)>, at_once: i64) -> Vec<Round> {
        let mut lists = vec![Vec::new(); self.world.size()];
        places.for_each(|(place, numbers)| lists[self.owners[place]].push((place, numbers)));
        let each = (at_once / lists.len() as i64).max(1);
        let cut: Vec<Vec<Vec<Run>>> = lists.iter().map(|list| cut(list, each)).collect();
        let longest = cut.iter().map(Vec::len).max().unwrap_or(0);
        let round = |i: usize| Round(cut.iter().map(|rounds| rounds.get(i).cloned().unwrap_or_default()).collect());
        (0..longest).map(round).collect()
    }
}

/// What goes from rank to rank at once: of each rank's tensors some runs.
#[derive(Debug)]
pub(crate) struct Round(Vec<Vec<Run>>);

impl Round {
    /// The runs of a rank's tensors.
    pub(crate) fn of(&self, rank: usize) -> &[Run] {
        self.0.get(rank).map_or(&[], Vec::as_slice)
    }

    /// All runs, in the order of ranks.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Run> {
        self.0.iter().flatten()
    }

    /// How many numbers there are of each rank's.
    pub(crate) fn counts(&self) -> Vec<i64> {
        self.0.iter().map(|runs| runs.iter().map(|run| run.length).sum()).collect()
    }
}

/// Numbers in a row of the tensor at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) place: usize,
    pub(crate) start: i64,
    pub(crate) length: i64,
    /// How many numbers the tensor has.
    of: i64,
}

impl Run {
    /// Whether it is all of its tensor.
    pub(crate) fn is_whole(&self) -> bool {
        self.length == self.of
    }

    /// Whether its tensor ends with it.
    pub(crate) fn is_last(&self) -> bool {
        self.start + self.length == self.of
    }
}

/// Tensors in a row, cut into runs of `most` numbers together.
fn cut(list: &[(usize, i64)], most: i64) -> Vec<Vec<Run>> {
    let (mut rounds, mut round, mut room) = (Vec::new(), Vec::new(), most);
    for &(place, of) in list {
        let mut start = 0;
        loop {
            let length = room.min(of - start);
            round.push(Run { place, start, length, of });
            (start, room) = (start + length, room - length);
            if room == 0 {
                rounds.push(std::mem::take(&mut round));
                room = most;
            }
            if start == of {
                break;
            }
        }
    }
    if !round.is_empty() {
        rounds.push(round);
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes as a model has them, and as none has.
    fn sizes() -> Vec<Vec<usize>> {
        let layer = [64 * 64, 64 * 16, 64 * 16, 64 * 64, 64 * 256, 256 * 64, 64, 64];
        let model = [64 * 1000].into_iter().chain(layer.repeat(6)).chain([64]).collect();
        vec![vec![], vec![5], vec![0, 0, 3], vec![7; 13], model, (1..40).map(|i| i * i % 37).collect()]
    }

    #[test]
    fn every_tensor_has_one_owner_and_no_rank_more_than_its_share_and_the_largest() {
        for (sizes, ranks) in sizes().iter().flat_map(|sizes| (1..9).map(move |ranks| (sizes, ranks))) {
            let owners = owners(sizes, ranks);
            assert_eq!(owners.len(), sizes.len());
            let mut loads = vec![0; ranks];
            owners.iter().zip(sizes).for_each(|(&owner, size)| loads[owner] += size);
            let share = sizes.iter().sum::<usize>() as f64 / ranks as f64;
            let largest = sizes.iter().copied().max().unwrap_or(0) as f64;
            assert!(loads.iter().all(|&load| load as f64 <= share + largest), "{sizes:?} {ranks}: {loads:?}");
            assert_eq!(owners, self::owners(sizes, ranks));
        }
    }

    #[test]
    fn what_is_cut_into_rounds_is_every_number_once_and_no_more_than_fits() {
        for (sizes, most) in sizes().iter().flat_map(|sizes| [7, 100, 10_000].map(|most| (sizes, most))) {
            let list: Vec<(usize, i64)> = sizes.iter().map(|&size| size as i64).enumerate().collect();
            let mut next = vec![0; sizes.len()];
            let rounds = cut(&list, most);
            for (i, round) in rounds.iter().enumerate() {
                let count = round.iter().map(|run| run.length).sum::<i64>();
                assert!(count == most || (i + 1 == rounds.len() && count < most), "{sizes:?} {most}: {count}");
                for run in round {
                    assert_eq!(run.start, next[run.place]);
                    next[run.place] += run.length;
                    assert_eq!(run.is_last(), next[run.place] == sizes[run.place] as i64);
                }
            }
            assert!(next.iter().zip(sizes).all(|(&ended, &size)| ended == size as i64), "{sizes:?} {most}");
        }
    }
}
