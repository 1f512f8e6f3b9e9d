//! The tests of towers, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod deep;
mod mllama;
mod plain;
mod towers;
