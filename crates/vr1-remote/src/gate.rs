use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lets so many requests through at a time, and so many a minute.
#[derive(Debug)]
pub(crate) struct Gate {
    at_once: usize,
    /// Between the beginnings of two requests.
    apart: Duration,
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    /// When the next request may go out.
    next: Option<Instant>,
}

/// A request that is under way; it makes room when it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a Gate);

impl Gate {
    pub(crate) fn new(at_once: usize, requests_per_minute: f64) -> Self {
        let apart = if requests_per_minute > 0.0 { 60.0 / requests_per_minute } else { 0.0 };
        let apart = Duration::try_from_secs_f64(apart).unwrap_or(Duration::ZERO);
        Self { at_once, apart, state: Mutex::default(), left: Condvar::new() }
    }

    /// Waits until there is room for one more.
    pub(crate) fn enter(&self) -> Place<'_> {
        let mut state = self.state();
        while self.at_once > 0 && state.under_way >= self.at_once {
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.under_way += 1;
        Place(self)
    }

    /// When a request may go out that is ready now: its time is taken by that. None after `end`, where there is one.
    pub(crate) fn turn(&self, end: Option<Instant>) -> Option<Instant> {
        let mut state = self.state();
        let now = Instant::now();
        let turn = state.next.map_or(now, |next| next.max(now));
        if end.is_some_and(|end| turn >= end) {
            return None;
        }
        state.next = Some(turn + self.apart);
        Some(turn)
    }

    /// The server asks for a pause: nobody goes out before.
    pub(crate) fn pause(&self, until: Instant) {
        let mut state = self.state();
        state.next = Some(state.next.map_or(until, |next| next.max(until)));
    }

    // What is held is whole after any panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
        self.0.left.notify_one();
    }
}

/// Sleeps until then.
pub(crate) fn sleep_until(then: Instant) {
    std::thread::sleep(then.saturating_duration_since(Instant::now()));
}
