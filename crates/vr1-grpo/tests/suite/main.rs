//! The tests of policy losses, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod advantages;
mod alone;
mod bad_input;
mod golden;
mod groups;
mod loss;
mod properties;
mod recipes;
mod reinforce;
