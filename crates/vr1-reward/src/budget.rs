use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// How much one rollout's reward may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Units of work: about one for each operation and each 64 bytes of text looked at.
    pub fuel: u64,
    /// Wall-clock time.
    pub deadline: Duration,
}

impl Default for Limits {
    /// 50 million units and one second.
    fn default() -> Self {
        Self { fuel: 50_000_000, deadline: Duration::from_secs(1) }
    }
}

/// What is left of a rollout's [`Limits`].
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    left: Cell<u64>,
    next_look: Cell<u64>,
    end: Cell<Option<Instant>>,
}

/// The clock is read once in this many units of work.
const LOOK_EVERY: u64 = 20_000;

impl Budget {
    /// A full budget. Its clock starts with the first look, after some 20 000 units of work.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let next_look = limits.fuel.saturating_sub(1_000);
        Self { limits, left: Cell::new(limits.fuel), next_look: Cell::new(next_look), end: Cell::new(None) }
    }

    /// Takes `units` of work for `place`.
    ///
    /// # Errors
    /// When fuel or time is used up.
    pub fn spend(&self, units: u64, place: &str) -> Result<()> {
        let Some(left) = self.left.get().checked_sub(units) else {
            return Err(Error::Fuel { limit: self.limits.fuel, place: place.into() });
        };
        self.left.set(left);
        if left < self.next_look.get() { self.look(left, place) } else { Ok(()) }
    }

    /// Takes the work of looking at `bytes` of text.
    ///
    /// # Errors
    /// When fuel or time is used up.
    pub fn spend_bytes(&self, bytes: usize, place: &str) -> Result<()> {
        self.spend(1 + bytes as u64 / 64, place)
    }

    /// What `work` gives. The time that it takes is not the rollout's: waiting for a server has a limit of its own.
    pub fn wait<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.end.set(self.end.get().map(|end| end + start.elapsed()));
        result
    }

    #[cold]
    fn look(&self, left: u64, place: &str) -> Result<()> {
        self.next_look.set(left.saturating_sub(LOOK_EVERY));
        let now = Instant::now();
        match self.end.get() {
            None => self.end.set(Some(now + self.limits.deadline)),
            Some(end) if now > end => {
                let limit_ms = u64::try_from(self.limits.deadline.as_millis()).unwrap_or(u64::MAX);
                return Err(Error::Deadline { limit_ms, place: place.into() });
            }
            Some(_) => {}
        }
        Ok(())
    }
}
