#![doc = include_str!("../README.md")]

mod error;
mod image_processor;
mod patches;
mod qwen2_5_vl;
mod qwen2_vl;
mod resize;
mod tower;

pub use error::{Error, Result};
pub use image_processor::ImageProcessor;
pub use patches::Patches;
pub use qwen2_5_vl::qwen2_5_vl;
pub use qwen2_vl::qwen2_vl;
pub use resize::{Resample, resize, smart_resize};
pub use tower::{Cut, VisionConfig, VisionTower};
