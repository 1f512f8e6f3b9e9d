#![doc = include_str!("../README.md")]

mod beam;
mod decoding;
mod distribution;
mod local;
mod memory;
mod sampler;
mod scheduler;
mod seating;
mod slots;

pub use distribution::probabilities;
pub use local::LocalEngine;
