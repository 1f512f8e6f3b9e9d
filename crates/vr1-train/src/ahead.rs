use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use vr1_processor::Processor;

use super::draw::{Draw, Drawing, Drawn};
use crate::Result;

/// What the next step is made of, samples and their prompts or documents, made ready on another thread while the step before
/// it is learnt from.
///
/// It follows from what was drawn so far and from what the curriculum says then, both of which are known when a step's
/// rewards are. Where the next step wants something else after all, what was made is dropped; where it cannot be made, that
/// step says so.
pub(crate) struct Ahead<T> {
    making: Option<Making<T>>,
}

impl<T> Default for Ahead<T> {
    fn default() -> Self {
        Self { making: None }
    }
}

struct Making<T> {
    wanted: Wanted,
    from: Drawing,
    after: Drawing,
    processor: Arc<Processor>,
    thread: JoinHandle<Result<T>>,
}

/// How many samples, and how the stages are weighed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) count: usize,
    pub(crate) stages: Vec<f64>,
}

impl<T: Send + 'static> Ahead<T> {
    /// Begins to make what the next step wants.
    pub(crate) fn begin(
        &mut self,
        draw: &mut Draw,
        wanted: Wanted,
        processor: &Arc<Processor>,
        make: impl FnOnce(Vec<Drawn>, &Processor) -> Result<T> + Send + 'static,
    ) {
        self.making = None;
        let Ok(deal) = draw.deal(wanted.count, &wanted.stages) else { return };
        let (after, own) = (deal.after().clone(), processor.clone());
        let thread = Builder::new().name("next step".to_owned()).spawn(move || make(deal.read()?, &own));
        self.making = thread.ok().map(|thread| Making {
            wanted,
            from: draw.drawing().clone(),
            after,
            processor: processor.clone(),
            thread,
        });
    }

    /// What was made, if it is what is wanted now; the samples are then drawn.
    pub(crate) fn take(&mut self, draw: &mut Draw, wanted: &Wanted, processor: &Arc<Processor>) -> Option<Result<T>> {
        let making = self.making.take()?;
        let same =
            making.wanted == *wanted && making.from == *draw.drawing() && Arc::ptr_eq(&making.processor, processor);
        // A panic there comes again where it is made here.
        let made = if same { making.thread.join().ok()? } else { return None };
        draw.advance(making.after);
        Some(made)
    }
}
