//! Qwen2 ([arXiv:2407.10671](https://arxiv.org/abs/2407.10671)) with the rotary positions of Qwen2-VL.

mod config;
mod layer;
mod model;

pub use config::{Qwen2Config, RopeParameters};
pub use model::Qwen2;
