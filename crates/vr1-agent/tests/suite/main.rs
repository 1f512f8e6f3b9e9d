//! The tests of what asks models, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod asked;
mod make;
mod paths;
#[allow(dead_code, reason = "of the server's words only some are said here")]
#[path = "../../../vr1-remote/tests/suite/server/mod.rs"]
mod server;
mod tools;
mod two_agents;
