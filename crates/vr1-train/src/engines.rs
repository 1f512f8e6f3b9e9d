//! Engines with the weights that they were handed.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use vr1_learn::Learner;
use vr1_processor::Processor;
use vr1_rollout::{Engine, Group, Ticket, Version};

use crate::Result;
use crate::canary::Canary;

/// An engine, and what is known of it.
pub(crate) struct Handed {
    engine: Box<dyn Engine>,
    /// The weights that it has.
    loaded: Option<Version>,
    canary: Canary,
    /// Requests of the next step, which it works at while others are asked for, and groups of these that came out meanwhile.
    awaited: HashSet<Ticket>,
    here: HashMap<Ticket, Group>,
}

/// What handing weights over took and found.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Handing {
    pub(crate) seconds: f64,
    /// How far a copy elsewhere is off the trainer, in nats a token.
    pub(crate) gap: Option<f64>,
}

impl Handed {
    pub(crate) fn new(engine: Box<dyn Engine>) -> Self {
        Self { engine, loaded: None, canary: Canary::default(), awaited: HashSet::new(), here: HashMap::new() }
    }

    /// The engine with the weights that it has.
    pub(crate) fn as_it_is(&mut self) -> &mut dyn Engine {
        self.engine.as_mut()
    }

    /// Has it take the learner's weights anew when it is asked for next.
    pub(crate) fn forget_weights(&mut self) {
        self.loaded = None;
        self.forget_awaited();
    }

    /// The engine with the learner's weights as they are now; copies elsewhere are seen to have them. What is under way of the next step is
    /// waited for first.
    pub(crate) fn with_weights(
        &mut self,
        learner: &Learner,
        processor: &Processor,
        handing: &mut Handing,
    ) -> Result<&mut dyn Engine> {
        let begun = Instant::now();
        let weights = learner.snapshot();
        if self.loaded != Some(weights.version) {
            self.gather()?;
            self.engine.load(&weights)?;
            let gap = self.canary.check(self.engine.as_mut(), learner, processor, weights.version)?;
            handing.gap = gap.or(handing.gap);
            self.loaded = Some(weights.version);
        }
        self.gather()?;
        handing.seconds += begun.elapsed().as_secs_f64();
        Ok(self.engine.as_mut())
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
            let more = self.engine.poll()?;
            if more.is_empty() {
                let (done, wanted) = (self.here.len(), self.awaited.len());
                return Err(vr1_rollout::Error::Lost { done, wanted }.into());
            }
            self.here.extend(more.into_iter().filter(|(ticket, _)| self.awaited.contains(ticket)));
        }
        Ok(())
    }
}
