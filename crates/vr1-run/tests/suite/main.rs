//! The tests of runs' folders, in one program; what is sent signals and what counts threads are others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod charts;
mod plot;
mod progress;
mod rollouts;
mod run;
mod sweep;
mod table;
mod tensorboard;
mod yaml;
