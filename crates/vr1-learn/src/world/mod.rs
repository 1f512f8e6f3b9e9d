//! Processes that train together.

mod cards;
mod launch;
mod lookout;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::Tensor;
use vr1_torch::{Holder, ProcessGroup, Store};

pub use self::launch::Launch;
use self::launch::wrong;
use self::lookout::{FAILED, Lookout};
use crate::{Error, Result};

/// How long processes wait for each other at the start, and for the store.
const MEETING: Duration = Duration::from_secs(60);
/// How long an answer of the store may take; c10d tries half as long again until it gives up.
const ANSWER: Duration = Duration::from_secs(40);
/// How long one may be behind the others afterwards: as PyTorch has it for Gloo.
const BEHIND: Duration = Duration::from_secs(30 * 60);

/// The processes that a run is made by: which this one is, and how it speaks to the others. It is handed down; a copy is of the same
/// world. A world of one speaks to nobody, and costs nothing.
///
/// Every rank makes the same plan of a step, does its share of the work, and is told the others': so all that is decided is decided
/// alike everywhere, by the same numbers. Collectives are called by all ranks in the same order.
#[derive(Debug, Clone)]
pub struct World {
    rank: usize,
    size: usize,
    local_rank: usize,
    joined: Option<Arc<Joined>>,
}

#[derive(Debug)]
struct Joined {
    group: Mutex<ProcessGroup>,
    store: Mutex<Store>,
    lookout: Arc<Lookout>,
    holder: Holder,
}

impl Default for World {
    fn default() -> Self {
        Self { rank: 0, size: 1, local_rank: 0, joined: None }
    }
}

impl World {
    /// The processes that this one was [launched](Launch::read) with; alone where it was launched by itself.
    ///
    /// # Errors
    /// If the launcher's variables are wrong or half given, or the others do not come within a minute; what is missing is named.
    pub fn from_environment() -> Result<Self> {
        match Launch::read(|name| std::env::var(name).ok())? {
            Some(launch) => Self::join(launch),
            None => Ok(Self::default()),
        }
    }

    /// Meets the others.
    ///
    /// # Errors
    /// If the port is taken, nobody answers there, or a rank does not come within a minute; which is named.
    pub fn join(launch: Launch) -> Result<Self> {
        let Launch { rank, size, local_rank, host, port, holder, attempt } = launch;
        let store = Store::open(&host, port, holder, &attempt, ANSWER)?;
        meet(&store, (rank, size), &format!("{host}:{port}"))?;
        let group = ProcessGroup::open(&store, rank, size, MEETING, BEHIND)
            .map_err(|error| Error::Lost { rank, reason: format!("the processes cannot be connected: {error}") })?;
        let own = Store::open(&host, port, Holder::Elsewhere, &attempt, ANSWER)?;
        let lookout = Lookout::begin(own, rank, size, format!("{host}:{port}"));
        let joined = Joined { group: Mutex::new(group), store: Mutex::new(store), lookout, holder };
        Ok(Self { rank, size, local_rank, joined: Some(Arc::new(joined)) })
    }

    /// Which of the processes this is, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Which it is on its machine, from 0.
    pub fn local_rank(&self) -> usize {
        self.local_rank
    }

    /// Whether this is the one that writes and tells.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// Whether there is no other.
    pub fn is_alone(&self) -> bool {
        self.joined.is_none()
    }

    /// Those of `count` things that are dealt to this rank: every `size`-th.
    pub fn dealt(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        (self.rank..count).step_by(self.size)
    }

    /// Each rank's run of things that weigh so much, about as heavy as the others'.
    pub fn shares(&self, weights: &[usize]) -> Vec<Range<usize>> {
        shares(weights, self.size)
    }

    /// What every rank gives, in the order of ranks.
    ///
    /// # Errors
    /// If another rank is gone.
    pub fn gather<T: Serialize + DeserializeOwned>(&self, own: T) -> Result<Vec<T>> {
        let Some(joined) = &self.joined else { return Ok(vec![own]) };
        let broken = |error: serde_json::Error| Error::Lost { rank: self.rank, reason: error.to_string() };
        let bytes = serde_json::to_vec(&own).map_err(broken)?;
        let all = self.told(joined, |group| group.gather(&bytes))?;
        all.iter().map(|bytes| serde_json::from_slice(bytes).map_err(broken)).collect()
    }

    /// What every rank comes to, if every rank does: where one fails, all do. Its own error for a rank that failed itself; for the others,
    /// the first rank that did and why.
    ///
    /// # Errors
    /// If any rank failed, or is gone.
    pub fn all<T: Serialize + DeserializeOwned, E: From<Error> + Display>(
        &self,
        own: Result<T, E>,
    ) -> Result<Vec<T>, E> {
        if self.is_alone() {
            return Ok(vec![own?]);
        }
        let (given, failed) = match own {
            Ok(value) => (Ok(value), None),
            Err(error) => (Err(error.to_string()), Some(error)),
        };
        let all = self.gather(given)?;
        if let Some(error) = failed {
            return Err(error);
        }
        let mut values = Vec::with_capacity(all.len());
        for (rank, given) in all.into_iter().enumerate() {
            values.push(given.map_err(|reason| Error::Rank { rank, reason })?);
        }
        Ok(values)
    }

    /// What rank 0 comes to; the others do nothing.
    ///
    /// # Errors
    /// If rank 0 failed, or is gone.
    pub fn first<T: Serialize + DeserializeOwned, E: From<Error> + Display>(
        &self,
        own: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        // What it says may itself be nothing.
        let own = if self.is_first() { own().map(|said| vec![said]) } else { Ok(Vec::new()) };
        let said = self.all(own)?.into_iter().flatten().next();
        said.ok_or_else(|| Error::Lost { rank: self.rank, reason: "rank 0 said nothing".to_owned() }.into())
    }

    /// Whether any rank says so.
    ///
    /// # Errors
    /// If another rank is gone.
    pub fn any(&self, own: bool) -> Result<bool> {
        Ok(self.gather(own)?.contains(&true))
    }

    /// The sum of every rank's `tensor` of one dimension, in the order of ranks.
    ///
    /// # Errors
    /// If another rank is gone.
    pub(crate) fn sum(&self, tensor: Tensor) -> Result<Tensor> {
        match &self.joined {
            Some(joined) => self.told(joined, |group| group.sum(&tensor)),
            None => Ok(tensor),
        }
    }

    /// This rank's share of the sum of every rank's `tensor` of one dimension, in the order of ranks: `counts` numbers for each.
    ///
    /// # Errors
    /// If another rank is gone.
    pub(crate) fn reduce_scatter(&self, tensor: Tensor, counts: &[i64]) -> Result<Tensor> {
        match &self.joined {
            Some(joined) => self.told(joined, |group| group.reduce_scatter(&tensor, counts)),
            None => Ok(tensor),
        }
    }

    /// What every rank gives, of one dimension and `counts` numbers, in the order of ranks.
    ///
    /// # Errors
    /// If another rank is gone.
    pub(crate) fn all_gather(&self, tensor: Tensor, counts: &[i64]) -> Result<Tensor> {
        match &self.joined {
            Some(joined) => self.told(joined, |group| group.all_gather(&tensor, counts)),
            None => Ok(tensor),
        }
    }

    /// Checks that all ranks begin with the same, by name.
    ///
    /// # Errors
    /// If not: the first name whose value differs, with the two ranks and what they have.
    pub fn check_alike(&self, facts: &BTreeMap<String, String>) -> Result<()> {
        let all = self.gather(facts.clone())?;
        for (rank, other) in all.iter().enumerate().skip(1) {
            let names: BTreeSet<&String> = all[0].keys().chain(other.keys()).collect();
            if let Some(name) = names.into_iter().find(|name| all[0].get(*name) != other.get(*name)) {
                let said = |facts: &BTreeMap<String, String>| {
                    facts.get(name).cloned().unwrap_or_else(|| "not there".to_owned())
                };
                let (first, second) = (said(&all[0]), said(other));
                return Err(Error::Unlike { rank, name: name.clone(), first, second });
            }
        }
        Ok(())
    }

    /// Waits until every rank has come to this.
    ///
    /// # Errors
    /// If another rank is gone.
    pub fn wait(&self) -> Result<()> {
        match &self.joined {
            Some(joined) => self.told(joined, ProcessGroup::barrier),
            None => Ok(()),
        }
    }

    /// Whether every rank comes to `place` within some time. What is asked goes by the store alone, and takes part in no collective: so a
    /// rank may ask it that does not know where the others are.
    pub fn meets(&self, place: &str, within: Duration) -> bool {
        let Some(joined) = &self.joined else { return true };
        let store = joined.store.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |rank: usize| format!("met/{place}/{rank}");
        let begun = Instant::now();
        let all_here = || -> vr1_torch::Result<bool> {
            for rank in 0..self.size {
                if store.get(&key(rank))?.is_none() {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        if store.set(&key(self.rank), b"1").is_err() {
            return false;
        }
        loop {
            match all_here() {
                Ok(true) => return true,
                Ok(false) if begun.elapsed() < within && !joined.lookout.is_lost() => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Ok(false) | Err(_) => return false,
            }
        }
    }

    /// Waits until every rank has come to the end; nobody looks for signs of life after it.
    ///
    /// # Errors
    /// If another rank is gone.
    pub fn leave(&self) -> Result<()> {
        self.wait()?;
        if let Some(joined) = &self.joined {
            joined.lookout.end();
        }
        // The store may go once nobody looks into it.
        self.wait()
    }

    /// Tells the others that this rank ends, and why.
    pub fn fail(&self, reason: &str) {
        let Some(joined) = &self.joined else { return };
        let store = joined.store.lock().unwrap_or_else(PoisonError::into_inner);
        // The first that fails is the one to know of; where the store is gone, nobody is there to be told.
        if let Ok(None) = store.get(FAILED) {
            let _ = store.set(FAILED, format!("rank {} failed: {reason}", self.rank).as_bytes());
        }
        if joined.holder == Holder::Here {
            std::thread::sleep(Duration::from_secs(3)); // The store ends with this process.
        }
    }

    fn told<T>(&self, joined: &Joined, work: impl FnOnce(&ProcessGroup) -> vr1_torch::Result<T>) -> Result<T> {
        let group = joined.group.lock().unwrap_or_else(PoisonError::into_inner);
        work(&group).map_err(|error| {
            let reason = joined.lookout.reason().unwrap_or_else(|| error.to_string());
            Error::Lost { rank: self.rank, reason }
        })
    }
}

/// Each rank's run of things that weigh so much, about as heavy as the others'.
///
/// # Example
/// ```
/// assert_eq!(vr1_learn::shares(&[5, 5, 5, 5, 20], 2), [0..4, 4..5]);
/// ```
pub fn shares(weights: &[usize], ranks: usize) -> Vec<Range<usize>> {
    let (total, ranks) = (weights.iter().sum::<usize>().max(1), ranks.max(1));
    let (mut before, mut shares) = (0, vec![0..0; ranks]);
    for (i, weight) in weights.iter().enumerate() {
        // By where its middle lies.
        let rank = ((2 * before + weight) * ranks / (2 * total)).min(ranks - 1);
        before += weight;
        shares[rank] = if shares[rank].is_empty() { i..i + 1 } else { shares[rank].start..i + 1 };
    }
    shares
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.lookout.end();
    }
}

/// Waits until every rank has said that it is here.
fn meet(store: &Store, (rank, size): (usize, usize), address: &str) -> Result<()> {
    let key = |rank: usize| format!("here/{rank}");
    store.set(&key(rank), b"1")?;
    let begun = Instant::now();
    loop {
        let here = |other: &usize| store.get(&key(*other)).map(|value| value.is_some());
        let mut missing = Vec::new();
        for other in 0..size {
            if !here(&other)? {
                missing.push(other.to_string());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > MEETING {
            let (seconds, missing) = (MEETING.as_secs(), missing.join(", "));
            return Err(wrong(format!("rank {missing} of {size} did not come to {address} within {seconds} s")));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(rank: usize, size: usize) -> World {
        World { rank, size, ..World::default() }
    }

    #[test]
    fn shares_are_runs_that_hold_everything_once() {
        for size in 1..6 {
            for weights in [vec![], vec![7], vec![1; 8], vec![9, 1, 1, 1, 1, 30, 2], vec![0, 0, 5]] {
                let shares = world(0, size).shares(&weights);
                let all: Vec<usize> = shares.iter().cloned().flatten().collect();
                assert_eq!(all, (0..weights.len()).collect::<Vec<_>>(), "{size} {weights:?}");
            }
        }
        assert_eq!(world(0, 4).shares(&[5; 8]), [0..2, 2..4, 4..6, 6..8]);
    }

    #[test]
    fn what_is_dealt_is_dealt_once() {
        let mut all: Vec<usize> = (0..3).flat_map(|rank| world(rank, 3).dealt(8)).collect();
        all.sort();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
    }
}
