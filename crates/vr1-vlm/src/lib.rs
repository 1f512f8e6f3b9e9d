#![doc = include_str!("../README.md")]

mod config;
mod error;
mod families;
mod fits;
mod freeze;
mod hub;
mod model;

pub use config::ModelConfig;
pub use error::{Error, Result};
pub use hub::{Hub, Network, resolve};
pub use model::{Embedded, Model};
