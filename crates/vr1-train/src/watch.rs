//! Phases of a run that make no progress.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Looks after the phases of a run: who works says what it does and that it goes on, and after `limit` without a word the run ends. A phase
/// that can be given up ends as an error, and what was learnt is saved; one that cannot, within libtorch or an engine, ends the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    limit: Option<Duration>,
    heard: Arc<Mutex<Option<Heard>>>,
}

#[derive(Debug, Clone)]
struct Heard {
    phase: String,
    at: Instant,
}

/// The exit status of a process whose phase could not be given up (`EX_SOFTWARE` of `sysexits.h`).
const STUCK: i32 = 70;

impl Watch {
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self { limit, heard: Arc::default() }
    }

    /// Something goes on with what it does, or begins to.
    pub(crate) fn hears(&self, phase: &str) {
        *self.lock() = Some(Heard { phase: phase.to_owned(), at: Instant::now() });
    }

    /// Nothing is watched until something is heard again.
    pub(crate) fn rests(&self) {
        *self.lock() = None;
    }

    /// How long a phase that can be given up may still be silent.
    pub(crate) fn patience(&self) -> Duration {
        let silent = self.lock().as_ref().map_or(Duration::ZERO, |heard| heard.at.elapsed());
        self.limit.map_or(FOREVER, |limit| limit.saturating_sub(silent))
    }

    /// Minutes without a word after which a phase is given up, for messages.
    pub(crate) fn minutes(&self) -> f64 {
        self.limit.unwrap_or_default().as_secs_f64() / 60.0
    }

    /// Ends the process where a phase stays silent that was not given up: `saved` says what the run goes on from. For as long as this is kept.
    pub(crate) fn guard(&self, saved: String) {
        let Some(limit) = self.limit else { return };
        let (watched, end) = (Arc::downgrade(&self.heard), limit + (limit / 2).min(Duration::from_secs(60)));
        let look = move || {
            while let Some(heard) = watched.upgrade() {
                let silent = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
                drop(heard);
                if let Some(Heard { phase, at }) = silent
                    && at.elapsed() > end
                {
                    let minutes = at.elapsed().as_secs_f64() / 60.0;
                    eprintln!("error: {phase}: no progress for {minutes:.1} minutes (`watchdog_minutes`); {saved}");
                    std::process::exit(STUCK);
                }
                let (pause, begun) =
                    ((limit / 8).clamp(Duration::from_millis(20), Duration::from_secs(5)), Instant::now());
                std::thread::sleep(pause);
                // Where this thread stood still too, the whole process did.
                if begun.elapsed() > pause * 8
                    && let Some(heard) = watched.upgrade()
                    && let Some(heard) = heard.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
                {
                    heard.at = Instant::now();
                }
            }
        };
        // A system without threads is watched by nobody.
        let _ = std::thread::Builder::new().name("watchdog".to_owned()).spawn(look);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const FOREVER: Duration = Duration::from_secs(1 << 40);
