use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Instant;

use rayon::ThreadPool;
use vr1_rollout::{Engine, Group, Request, Ticket};

use crate::watch::Watch;
use crate::{Error, Result};

/// Requests that were handed to an engine.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) tickets: Vec<Ticket>,
    /// What they are of, for messages.
    samples: Vec<String>,
    /// What came out of some already.
    pub(crate) here: HashMap<Ticket, Group>,
}

impl Pending {
    /// Hands requests to an engine.
    pub(crate) fn submit(&mut self, engine: &mut dyn Engine, requests: Vec<Request>) -> Result<()> {
        for request in requests {
            self.samples.push(request.prompt.sample().to_owned());
            self.tickets.push(engine.submit(request)?);
        }
        Ok(())
    }
}

/// Waits for requests, in their order, and has `each` look at a group on another thread as soon as it is there, while
/// others are still being sampled; and the seconds that were waited for it when all were. Who looks and does not come back is given up.
pub(crate) fn complete<T: Send + 'static>(
    engine: &mut dyn Engine,
    Pending { tickets, samples, mut here }: Pending,
    each: impl Fn(usize, &Group) -> T + Send + Sync + 'static,
    (scorers, watch): (&ThreadPool, &Watch),
) -> Result<(Vec<Group>, Vec<T>, f64)> {
    let (each, (sender, looked)) = (Arc::new(each), channel());
    let mut left: Vec<usize> = (0..tickets.len()).collect();
    while !left.is_empty() {
        watch.hears("sampling");
        let more = if here.is_empty() { engine.poll()? } else { here.drain().collect() };
        if more.is_empty() {
            let done = tickets.len() - left.len();
            return Err(vr1_rollout::Error::Lost { done, wanted: tickets.len() }.into());
        }
        for (ticket, group) in more {
            // A group of an earlier request that nobody waits for any more.
            let Some(at) = left.iter().position(|&place| tickets[place] == ticket) else { continue };
            let (place, each, sender) = (left.swap_remove(at), each.clone(), sender.clone());
            scorers.spawn(move || {
                // A panic of a user's verifier is an error of the step; rayon would end the process.
                if let Ok(seen) = catch_unwind(AssertUnwindSafe(|| each(place, &group))) {
                    // Where nobody waits any more, nothing is lost.
                    let _ = sender.send((place, group, seen));
                }
            });
        }
    }
    drop(sender);
    watch.hears("rewards");
    let sampled = Instant::now();
    let mut done: Vec<Option<(Group, T)>> = tickets.iter().map(|_| None).collect();
    while done.iter().any(Option::is_none) {
        match looked.recv_timeout(watch.patience()) {
            Ok((place, group, seen)) => {
                watch.hears("rewards");
                done[place] = Some((group, seen));
            }
            Err(gone) => {
                let place = done.iter().position(Option::is_none).unwrap_or_default();
                let sample = samples[place].clone();
                let reason = match gone {
                    RecvTimeoutError::Timeout => {
                        format!("its rewards made no progress for {:.1} minutes (`watchdog_minutes`)", watch.minutes())
                    }
                    RecvTimeoutError::Disconnected => "a verifier panicked over its rewards".to_owned(),
                };
                return Err(Error::Field { sample, reason });
            }
        }
    }
    let waited = sampled.elapsed().as_secs_f64();
    let (groups, seen) = done.into_iter().flatten().unzip();
    Ok((groups, seen, waited))
}
