//! What a step of sampling objectives is made of: samples, their completions and rewards.

use vr1_learn::Signals;
use vr1_rollout::Group;

use crate::ahead::Wanted;
use crate::ask::Flight;
use crate::draw::{Drawing, Drawn};
use crate::rewards::Rewarded;
use crate::rollout::rollouts;
use crate::{Result, Rollout};

/// Completions that are sampled for the next step, and what they were drawn from.
pub(crate) struct Flown {
    pub(crate) wanted: Wanted,
    pub(crate) from: Drawing,
    pub(crate) after: Drawing,
    pub(crate) flight: Flight,
}

/// Samples with their groups and rewards.
pub(crate) struct Round {
    pub(crate) drawn: Vec<Drawn>,
    pub(crate) groups: Vec<Group>,
    pub(crate) rewarded: Rewarded,
    /// What others were asked in its place, with those that were replaced.
    pub(crate) replaced: Vec<Self>,
}

impl Round {
    /// What is written down of it.
    pub(crate) fn rollouts(&self, signals: &Signals, seed: u64) -> Result<Vec<Rollout>> {
        let samples: Vec<_> = self.drawn.iter().map(|drawn| &drawn.sample).collect();
        let mut all = rollouts(&samples, &self.groups, &self.rewarded.said, signals, seed)?;
        for other in &self.replaced {
            let before = all.last().map_or(0, |last| last.group + 1);
            let rows = other.rollouts(&Signals::default(), seed)?;
            all.extend(rows.into_iter().map(|row| Rollout { group: before + row.group, ..row }));
        }
        Ok(all)
    }
}
