//! The tests of sequences and engines, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod asked;
mod best_of;
mod engine;
mod generation_config;
mod group;
mod noise;
mod request;
mod sequence;
mod stages;
