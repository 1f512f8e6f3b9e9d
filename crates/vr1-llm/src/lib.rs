#![doc = include_str!("../README.md")]

mod aria;
mod decoder;
mod llama;
mod mistral;
mod mllama;
mod qwen2;
mod qwen3;

pub use aria::aria;
pub use decoder::{Decoder, DecoderConfig, Deep, HeadNorms, Mixed};
pub use llama::llama;
pub use mistral::mistral;
pub use mllama::mllama;
pub use qwen2::{qwen2, qwen2_multimodal};
pub use qwen3::{qwen3, qwen3_moe, qwen3_moe_multimodal, qwen3_multimodal};
