//! The tests of the supervised loss, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod golden;
mod loss;
mod of_logprobs;
mod packing;
mod properties;
mod recipes;
