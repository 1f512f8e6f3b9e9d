//! Engines with the weights that they were handed.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use vr1_learn::{Learner, World};
use vr1_processor::Processor;
use vr1_rollout::{Engine, Group, Ticket, Version};

use crate::Result;
use crate::canary::Canary;
use crate::dealt::Dealt;

/// An engine, and what is known of it.
pub(crate) struct Handed {
    engine: Dealt,
    world: World,
    /// The weights that it has.
    loaded: Option<Version>,
    canary: Canary,
    /// How far copies elsewhere were off the trainer when they took these weights, in nats a token.
    gap: Option<f64>,
    /// This rank's requests of the next step, which it works at while others are asked for, and groups of these that came out meanwhile.
    awaited: HashSet<Ticket>,
    here: HashMap<Ticket, Group>,
}

impl Handed {
    /// An engine of this rank, which shares what all ranks ask with the others of `world`.
    pub(crate) fn new(engine: Box<dyn Engine>, world: World) -> Self {
        let engine = Dealt::new(engine, world.clone());
        let (awaited, here) = (HashSet::new(), HashMap::new());
        Self { engine, world, loaded: None, canary: Canary::default(), gap: None, awaited, here }
    }

    /// The engine with the weights that it has.
    pub(crate) fn as_it_is(&mut self) -> &mut dyn Engine {
        &mut self.engine
    }

    /// This rank's own, which completes what this rank alone asks.
    pub(crate) fn own(&mut self) -> &mut dyn Engine {
        self.engine.own()
    }

    /// Has it take the learner's weights anew when it is asked for next.
    pub(crate) fn forget_weights(&mut self) {
        self.loaded = None;
        self.forget_awaited();
    }

    /// The mean difference of a test prompt's log-probabilities from the trainer's own, over the copies of the weights that engines elsewhere
    /// have: the widest, in nats a token.
    pub(crate) fn gap(&self) -> Option<f64> {
        self.gap
    }

    /// The engine with the learner's weights as they are now; copies elsewhere are seen to have them. What is under way of the next step, on
    /// any rank, is waited for first. `seconds` grows by the time that this takes.
    pub(crate) fn with_weights(
        &mut self,
        learner: &Learner,
        processor: &Processor,
        seconds: &mut f64,
    ) -> Result<&mut dyn Engine> {
        let begun = Instant::now();
        let weights = learner.snapshot();
        let gathered = self.gather();
        self.world.all(gathered)?;
        if self.loaded != Some(weights.version) {
            let engine = &mut self.engine;
            let handed = learner.together(|| engine.hand(&weights));
            self.engine.follow_first(handed)?;
            self.gap = self.checked(learner, processor, weights.version)?;
            self.loaded = Some(weights.version);
        }
        *seconds += begun.elapsed().as_secs_f64();
        Ok(&mut self.engine)
    }

    /// How far copies elsewhere are off, as the first rank sees it, which handed weights to them.
    fn checked(&mut self, learner: &Learner, processor: &Processor, version: Version) -> Result<Option<f64>> {
        if self.is_here() {
            return Ok(None);
        }
        let (canary, engine, first) = (&mut self.canary, self.engine.own(), self.world.is_first());
        let gap = learner.together(|| match first {
            true => canary.check(engine, learner, processor, version),
            false => Ok(None),
        });
        self.world.first(|| gap)
    }

    /// Whether what completes is in this process.
    pub(crate) fn is_here(&self) -> bool {
        self.engine.is_here()
    }

    /// Keeps what these give for who asks for it later.
    pub(crate) fn awaits(&mut self, tickets: &[Ticket]) {
        self.awaited.extend(tickets);
    }

    /// What came out of these already; the rest comes out of the engine.
    pub(crate) fn land(&mut self, tickets: &[Ticket]) -> HashMap<Ticket, Group> {
        self.awaited.retain(|ticket| !tickets.contains(ticket));
        tickets.iter().filter_map(|ticket| self.here.remove_entry(ticket)).collect()
    }

    /// Nobody asks for it any more.
    pub(crate) fn forget_awaited(&mut self) {
        self.awaited.clear();
        self.here.clear();
    }

    fn gather(&mut self) -> Result<()> {
        while self.here.len() < self.awaited.len() {
            let more = self.engine.own().poll()?;
            if more.is_empty() {
                let (done, wanted) = (self.here.len(), self.awaited.len());
                return Err(vr1_rollout::Error::Lost { done, wanted }.into());
            }
            self.here.extend(more.into_iter().filter(|(ticket, _)| self.awaited.contains(ticket)));
        }
        Ok(())
    }
}
