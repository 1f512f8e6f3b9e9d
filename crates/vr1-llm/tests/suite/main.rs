//! The tests of decoders, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod config;
mod mllama;
