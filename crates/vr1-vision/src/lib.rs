#![doc = include_str!("../README.md")]

mod aria;
mod features;
mod idefics3;
mod llava;
mod mllama;
mod qwen2_5_vl;
mod qwen2_vl;
mod qwen3_vl;
mod tower;
mod vit;

pub use aria::aria;
pub use features::{Features, Shown};
pub use idefics3::idefics3;
pub use llava::{llava, llava_next};
pub use mllama::mllama;
pub use qwen2_5_vl::qwen2_5_vl;
pub use qwen2_vl::qwen2_vl;
pub use qwen3_vl::qwen3_vl;
pub use tower::{Cut, Sections, VisionConfig, VisionTower};
