#![doc = include_str!("../README.md")]

mod beam;
mod distribution;
mod local;
mod slots;

pub use distribution::probabilities;
pub use local::LocalEngine;
