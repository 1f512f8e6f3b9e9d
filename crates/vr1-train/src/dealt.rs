//! An engine whose requests are dealt to the ranks of a run.

use vr1_learn::World;
use vr1_rollout::{Engine, Group, Request, Sequence, Ticket, Version, Weights};

use crate::sent::Sent;
use crate::{Error, Result};

/// This rank's engine, and those of the others: requests that all ranks make alike are each completed by one of them, and all ranks get
/// all groups. What a token is drawn by does not hang on the rank. Alone, it is the engine itself.
pub(crate) struct Dealt {
    own: Box<dyn Engine>,
    world: World,
    /// Requests that were made and not polled for.
    waiting: Vec<(Ticket, Request)>,
    made: u64,
}

impl Dealt {
    pub(crate) fn new(own: Box<dyn Engine>, world: World) -> Self {
        Self { own, world, waiting: Vec::new(), made: 0 }
    }

    /// Whether what completes is in this process.
    pub(crate) fn is_here(&self) -> bool {
        self.own.tolerance().is_none()
    }

    /// Hands weights over, where that is for this rank to do: copies elsewhere are the same for all, and the first sees to them.
    pub(crate) fn hand(&mut self, weights: &dyn Weights) -> Result<()> {
        match self.is_here() || self.world.is_first() {
            true => Ok(self.own.load(weights).map(drop)?),
            false => Ok(()),
        }
    }

    /// Asks copies elsewhere for the weights that the first rank has handed them; `handed` is what came of it on this one.
    pub(crate) fn follow_first(&mut self, handed: Result<()>) -> Result<()> {
        if self.is_here() || self.world.is_alone() {
            return handed;
        }
        let own = &self.own;
        let landed = self.world.first(|| handed.map(|()| own.landed()))?;
        match landed.filter(|_| !self.world.is_first()) {
            Some(landed) => Ok(self.own.follow(&landed).map(drop)?),
            None => Ok(()),
        }
    }

    /// The engine of this rank, which completes what this rank asks.
    pub(crate) fn own(&mut self) -> &mut dyn Engine {
        self.own.as_mut()
    }
}

impl Engine for Dealt {
    fn submit(&mut self, request: Request) -> vr1_rollout::Result<Ticket> {
        if self.world.is_alone() {
            return self.own.submit(request);
        }
        request.validate()?;
        self.made += 1;
        self.waiting.push((Ticket(self.made), request));
        Ok(Ticket(self.made))
    }

    fn poll(&mut self) -> vr1_rollout::Result<Vec<(Ticket, Group)>> {
        if self.world.is_alone() {
            return self.own.poll();
        }
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        let own: Vec<Request> = self.world.dealt(waiting.len()).map(|place| waiting[place].1.clone()).collect();
        let groups = self.own.generate(own).map_err(Error::from);
        let sent = groups.and_then(|groups| groups.iter().map(Sent::of).collect::<Result<Vec<_>>>());
        let groups = self.world.all(sent).and_then(|all| {
            let asked: Vec<_> = waiting.iter().map(|(_, request)| (request.key, request.prompt.clone())).collect();
            undealt(all, asked.len())
                .into_iter()
                .zip(asked)
                .map(|(sent, (key, prompt))| sent.group(key, &prompt))
                .collect()
        });
        let groups: Vec<Group> = groups.map_err(|error| match error {
            Error::Rollout(error) => error,
            other => vr1_rollout::Error::engine(other),
        })?;
        Ok(waiting.into_iter().map(|(ticket, _)| ticket).zip(groups).collect())
    }

    fn load(&mut self, weights: &dyn Weights) -> vr1_rollout::Result<Version> {
        self.own.load(weights)
    }

    fn tolerance(&self) -> Option<f64> {
        self.own.tolerance()
    }

    fn probe(&mut self, request: &Request) -> vr1_rollout::Result<Vec<(String, Sequence)>> {
        self.own.probe(request)
    }

    fn take_warnings(&mut self) -> Vec<String> {
        self.own.take_warnings()
    }

    fn take_seconds(&mut self) -> Vec<(&'static str, f64)> {
        self.own.take_seconds()
    }
}

/// What was dealt to ranks, in its order again.
pub(crate) fn undealt<T>(all: Vec<Vec<T>>, count: usize) -> Vec<T> {
    let mut ranks: Vec<_> = all.into_iter().map(Vec::into_iter).collect();
    let size = ranks.len();
    (0..count).filter_map(|place| ranks[place % size].next()).collect()
}
