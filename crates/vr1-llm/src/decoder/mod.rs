//! The decoder that Llama and its kin share: pre-norm layers of rotary attention and a gated MLP, and such as attend across, to what is
//! shown beside the text.

mod across;
mod config;
mod layer;
mod model;

pub use config::DecoderConfig;
pub(crate) use config::Keys;
pub use model::Decoder;
