#![doc = include_str!("../README.md")]

mod beam;
mod distribution;
mod local;

pub use distribution::probabilities;
pub use local::LocalEngine;
