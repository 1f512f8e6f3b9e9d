//! The tests of layers, in one program; what counts memory is one of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod across;
mod context;
mod derived;
mod mixture;
mod projections;
mod segments;
mod weights;
