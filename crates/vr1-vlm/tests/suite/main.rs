//! The tests of whole models, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adapters;
mod broadcast;
mod checkpoints;
mod families;
mod field;
mod groups;
mod hub;
mod model;
mod narrow;
mod sizes;
