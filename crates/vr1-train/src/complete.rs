use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use vr1_rollout::{Engine, Group, Request, Ticket};

use crate::Result;

/// Completes requests, in their order, and has `each` look at a group on another thread as soon as it is there, while
/// others are still being sampled; and the seconds that were waited for it when all were.
pub(crate) fn complete<T: Send>(
    engine: &mut dyn Engine,
    requests: Vec<Request>,
    each: impl Fn(usize, &Group) -> T + Sync,
) -> Result<(Vec<Group>, Vec<T>, f64)> {
    let tickets: Vec<Ticket> =
        requests.into_iter().map(|request| engine.submit(request)).collect::<vr1_rollout::Result<_>>()?;
    let looked: Mutex<Vec<Option<(Group, T)>>> = Mutex::new(tickets.iter().map(|_| None).collect());
    let (each, places) = (&each, &looked);
    let sampled = rayon::in_place_scope(|scope| -> Result<Instant> {
        let mut left: Vec<usize> = (0..tickets.len()).collect();
        while !left.is_empty() {
            let more = engine.poll()?;
            if more.is_empty() {
                let done = tickets.len() - left.len();
                return Err(vr1_rollout::Error::Lost { done, wanted: tickets.len() }.into());
            }
            for (ticket, group) in more {
                // A group of an earlier request that nobody waits for any more.
                let Some(at) = left.iter().position(|&place| tickets[place] == ticket) else { continue };
                let place = left.swap_remove(at);
                scope.spawn(move |_| {
                    let seen = each(place, &group);
                    places.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some((group, seen));
                });
            }
        }
        Ok(Instant::now())
    })?;
    let waited = sampled.elapsed().as_secs_f64();
    let looked = looked.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (groups, seen) = looked.into_iter().flatten().unzip();
    Ok((groups, seen, waited))
}
