//! The tests of operators, in one program; what counts memory is one of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod head;
mod logprobs;
mod masked;
