#![doc = include_str!("../README.md")]

mod activation;
mod attention;
mod cache;
mod checkpoint;
mod context;
mod error;
mod linear;
mod loader;
mod mask;
mod norm;
mod parameters;
mod rotary;

pub use activation::Activation;
pub use attention::{Heads, attention};
pub use cache::{GrowingCache, LayerKeyValues, Prefix};
pub use checkpoint::Checkpoint;
pub use context::Context;
pub use error::{Error, Problems, Result};
pub use linear::{Embedding, Linear};
pub use loader::{Init, Loader, Path};
pub use mask::{causal_mask, padding_mask};
pub use norm::{LayerNorm, RmsNorm};
pub use parameters::Parameters;
pub use rotary::{MultimodalRotary, Rotation, vision_rotation};
