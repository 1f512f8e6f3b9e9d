#![doc = include_str!("../README.md")]

mod decoder;
mod llama;
mod mllama;
mod qwen2;

pub use decoder::{Decoder, DecoderConfig};
pub use llama::llama;
pub use mllama::mllama;
pub use qwen2::{qwen2, qwen2_multimodal};
