//! Ctrl-C, and the signals of schedulers and closed terminals. The first asks the loop to stop after its step, with everything
//! saved; the second leaves at once.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXCPU},
    flag,
    iterator::Signals,
};

/// Whether the run was asked to stop. Copies share one flag.
///
/// # Example
/// ```
/// let interrupt = vr1_run::Interrupt::default();
/// assert!(!interrupt.requested());
/// interrupt.clone().request();
/// assert!(interrupt.requested());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

const SIGNALS: [i32; 5] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGXCPU];

impl Interrupt {
    /// The process's own flag, which Ctrl-C sets, or a SIGTERM, SIGHUP, SIGUSR1 or SIGXCPU. The handlers are installed with the first
    /// call; a second press then ends the process at once with status 130.
    ///
    /// # Errors
    /// The system lets no handler be installed.
    pub fn install() -> io::Result<Self> {
        static INSTALLED: OnceLock<Interrupt> = OnceLock::new();
        if let Some(interrupt) = INSTALLED.get() {
            return Ok(interrupt.clone());
        }
        let interrupt = Self::default();
        for signal in SIGNALS {
            // In this order: the press that sets the flag must not find it set.
            flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupt.0))?;
            flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        // A handler may not print, a thread may: nobody should press again for want of an answer.
        let mut signals = Signals::new(SIGNALS)?;
        std::thread::Builder::new().name("interrupt".into()).spawn(move || {
            if signals.forever().next().is_some() {
                eprintln!("\nstopping after this step; press Ctrl-C again to leave at once");
            }
        })?;
        Ok(INSTALLED.get_or_init(|| interrupt).clone())
    }

    /// Whether to stop after this step.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Asks for a stop, as the first press of Ctrl-C does.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
