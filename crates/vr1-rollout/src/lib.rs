#![doc = include_str!("../README.md")]

mod best_of;
mod broadcast;
mod engine;
mod error;
mod generation_config;
mod group;
mod key;
mod noise;
mod request;
mod sampling;
mod scripted;
mod sequence;
mod stages;

pub use best_of::best_of;
pub use broadcast::{Broadcast, Carrier, Meeting, Part};
pub use engine::{Engine, Landed, Ticket, Weights};
pub use error::{Error, Result};
pub use generation_config::GenerationConfig;
pub use group::Group;
pub use key::SampleKey;
pub use noise::{stream, uniform};
pub use request::{Request, Search};
pub use sampling::Sampling;
pub use scripted::Scripted;
pub use sequence::{Finish, Sampled, Sequence, Version};
pub use stages::{StageAnswer, answer_in_stages};
