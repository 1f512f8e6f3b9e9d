//! The decoder that Llama and its kin share: pre-norm layers of rotary attention and a gated MLP.

mod config;
mod deep;
mod layer;
mod model;

pub use config::{DecoderConfig, HeadNorms, Mixed};
pub(crate) use config::Keys;
pub use deep::Deep;
pub use model::Decoder;
