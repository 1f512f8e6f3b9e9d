//! The tests of learning, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cut;
mod encode;
mod judged;
mod losses;
mod moments;
mod optimizer;
mod precision;
mod preference;
mod recompute;
mod reference;
mod resume;
mod routed;
mod sampler;
mod schedules;
mod seen;
mod sharding;
#[path = "../tiny/mod.rs"]
mod tiny;
mod transaction;
mod trl;
