//! What the command-line program and the examples have in common: the arguments of a run.

mod run_args;

pub use run_args::{RunArgs, first_and_last, kind};
