//! Who keeps an eye on the other ranks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

use vr1_torch::Store;

/// From one sign of life to the next.
const BEAT: Duration = Duration::from_secs(1);
/// How long a rank may give none.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a rank that has lost another may still take to save what it has and to say so.
const GRACE: Duration = Duration::from_secs(25);
/// The key under which a rank that fails says why.
pub(super) const FAILED: &str = "failed";

/// What is known of the other ranks: a thread gives signs of life by the store and looks for theirs, so that a rank which dies or fails
/// is noticed by all whatever they are doing. A rank that goes on with what it does all the same is ended.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    lost: Mutex<Option<(String, Instant)>>,
    over: AtomicBool,
}

impl Lookout {
    /// Begins to look, by a connection of its own.
    pub(super) fn begin(store: Store, rank: usize, size: usize, address: String) -> Arc<Self> {
        let lookout = Arc::new(Self::default());
        let own = lookout.clone();
        let look = move || {
            let mut others = Others { seen: vec![(None, Instant::now()); size], rank };
            let mut beat = 0u64;
            while !own.over.load(Ordering::SeqCst) {
                let begun = Instant::now();
                beat += 1;
                let found = others.look(&store, beat);
                let found = found.unwrap_or_else(|error| Some(format!("the store at {address} is gone ({error})")));
                found.into_iter().for_each(|reason| own.lose(reason));
                own.end_what_does_not_end(rank);
                sleep(BEAT);
                // Where this process stood still, so did its clock of the others.
                if begun.elapsed() > SILENCE / 2 {
                    others.seen.iter_mut().for_each(|(_, at)| *at = Instant::now());
                }
            }
        };
        // A system without threads is left to the limits of collectives.
        let _ = Builder::new().name("ranks".to_owned()).spawn(look);
        lookout
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(String, Instant)>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, reason: String) {
        self.lock().get_or_insert_with(|| (reason, Instant::now()));
    }

    /// Why the ranks are no longer together, once that is known; a collective that failed knows it a little before.
    pub(super) fn reason(&self) -> Option<String> {
        let begun = Instant::now();
        while begun.elapsed() < BEAT * 3 {
            if let Some((reason, _)) = &*self.lock() {
                return Some(reason.clone());
            }
            sleep(Duration::from_millis(50));
        }
        None
    }

    /// Whether a rank is known to be lost.
    pub(super) fn is_lost(&self) -> bool {
        self.lock().is_some()
    }

    /// Looks no longer.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    fn end_what_does_not_end(&self, rank: usize) {
        let late = self.lock().as_ref().filter(|(_, at)| at.elapsed() > GRACE).map(|(reason, _)| reason.clone());
        if let Some(reason) = late
            && !self.over.load(Ordering::SeqCst)
        {
            eprintln!("error: rank {rank}: {reason}; this rank ends, too");
            std::process::exit(1);
        }
    }
}

/// When each rank was last seen alive.
struct Others {
    seen: Vec<(Option<Vec<u8>>, Instant)>,
    rank: usize,
}

impl Others {
    /// Gives a sign of life and looks for the others': who is lost, and why.
    fn look(&mut self, store: &Store, beat: u64) -> vr1_torch::Result<Option<String>> {
        let key = |rank: usize| format!("alive/{rank}");
        store.set(&key(self.rank), &beat.to_le_bytes())?;
        if let Some(reason) = store.get(FAILED)? {
            return Ok(Some(String::from_utf8_lossy(&reason).into_owned()));
        }
        for (rank, (known, at)) in self.seen.iter_mut().enumerate().filter(|(rank, _)| *rank != self.rank) {
            let now = store.get(&key(rank))?;
            if now != *known {
                (*known, *at) = (now, Instant::now());
            } else if at.elapsed() > SILENCE {
                return Ok(Some(format!("rank {rank} has given no sign of life for {} s", SILENCE.as_secs())));
            }
        }
        Ok(None)
    }
}
