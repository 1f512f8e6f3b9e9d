//! What the command-line program and the examples have in common: the arguments of a run, and what is told of it.

mod run;
mod run_args;
mod spinning;
mod sweep;
mod system;

pub use run::{Ended, STOPPED_EARLY, run};
pub use run_args::{RunArgs, judge, kind, registry};
pub use spinning::spin_briefly;
pub use sweep::{SweepArgs, sweep};
pub use system::{SystemArgs, system};
