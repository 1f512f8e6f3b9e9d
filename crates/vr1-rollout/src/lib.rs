#![doc = include_str!("../README.md")]

mod beam;
mod completion;
mod engine;
mod error;
mod local;
mod noise;
mod sampling;
mod stages;

pub use beam::{Beam, beam_search};
pub use completion::{Completion, Group};
pub use engine::RolloutEngine;
pub use error::{Error, Result};
pub use local::LocalEngine;
pub use noise::uniform;
pub use sampling::Sampling;
pub use stages::{StageAnswer, answer_in_stages};
