#![doc = include_str!("../README.md")]

mod features;
mod mllama;
mod qwen2_5_vl;
mod qwen2_vl;
mod tower;

pub use features::{Features, Shown};
pub use mllama::mllama;
pub use qwen2_5_vl::qwen2_5_vl;
pub use qwen2_vl::qwen2_vl;
pub use tower::{Cut, Sections, VisionConfig, VisionTower};
