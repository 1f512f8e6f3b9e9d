//! The tests of decoding, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod across;
mod beam;
mod distribution;
mod engine;
mod memory;
mod sampling;
mod stages;
mod tiny;
