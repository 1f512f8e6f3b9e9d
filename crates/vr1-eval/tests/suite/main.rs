//! The evaluation's tests, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod benchmarks;
mod interval;
mod judge;
mod reading;
mod score;
