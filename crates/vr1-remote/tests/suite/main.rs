//! The tests of what asks servers, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chat;
mod server;
mod servers;
mod simulation;
