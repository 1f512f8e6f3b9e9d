//! The tests of preference losses, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod golden;
mod papers;
mod properties;
mod recipes;
