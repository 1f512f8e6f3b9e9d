#![doc = include_str!("../README.md")]

mod decoder;
mod llama;
mod mistral;
mod qwen2;

pub use decoder::{Decoder, DecoderConfig};
pub use llama::llama;
pub use mistral::mistral;
pub use qwen2::{qwen2, qwen2_multimodal};
