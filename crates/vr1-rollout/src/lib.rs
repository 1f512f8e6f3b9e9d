#![doc = include_str!("../README.md")]

mod beam;
mod completion;
mod distribution;
mod engine;
mod error;
mod generation_config;
mod local;
mod noise;
mod sampling;
mod stages;

pub use beam::{Beam, beam_search};
pub use completion::{Completion, Group};
pub use engine::RolloutEngine;
pub use error::{Error, Result};
pub use generation_config::GenerationConfig;
pub use local::LocalEngine;
pub use noise::uniform;
pub use sampling::Sampling;
pub use stages::{StageAnswer, answer_in_stages};
