#![doc = include_str!("../README.md")]

mod apart;
mod backbone;
mod batch;
mod broadcast;
mod config;
mod error;
mod families;
mod fits;
mod freeze;
mod hub;
mod model;
mod sights;
mod snapshot;

pub use backbone::Backbone;
pub use batch::{Batch, BatchMedia, Piece, Tail};
pub use config::ModelConfig;
pub use error::{Error, Result};
pub use hub::{resolve, resolve_from};
pub use model::Model;
pub use snapshot::Snapshot;
pub use vr1_vision::{Features, Shown};
