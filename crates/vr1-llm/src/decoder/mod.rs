//! The decoder that Llama and its kin share: pre-norm layers of rotary attention and a gated MLP, and such as attend across, to what is
//! shown beside the text.

mod across;
mod config;
mod deep;
mod layer;
mod model;

pub(crate) use config::Keys;
pub use config::{DecoderConfig, HeadNorms, Mixed};
pub use deep::Deep;
pub use model::Decoder;
