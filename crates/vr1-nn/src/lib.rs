#![doc = include_str!("../README.md")]

mod activation;
mod adapter;
mod attention;
mod cache;
mod checkpoint;
mod config;
mod context;
mod error;
mod gated_mlp;
mod linear;
mod loader;
mod lora;
mod norm;
mod parameters;
mod prefix;
mod rope;
mod rotary;
mod segments;

pub use activation::Activation;
pub use adapter::Adapter;
pub use attention::{Heads, attention};
pub use cache::{GrowingCache, Seat};
pub use checkpoint::Checkpoint;
pub use config::{check_sizes, read_config, with_defaults};
pub use context::Context;
pub use error::{Error, Problems, Result};
pub use gated_mlp::GatedMlp;
pub use linear::{Bias, Embedding, Linear};
pub use loader::{Derived, Init, Loader, Path};
pub use lora::{LoraConfig, Modules};
pub use norm::{LayerNorm, RmsNorm};
pub use parameters::{Names, Parameters};
pub use prefix::{LayerKeyValues, Prefix};
pub use rope::{Rope, RopeScaling};
pub use rotary::{MultimodalRotary, Rotation, vision_rotation};
pub use segments::Segments;
