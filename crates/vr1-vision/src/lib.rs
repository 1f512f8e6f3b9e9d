#![doc = include_str!("../README.md")]

mod error;
mod image_processor;
mod patches;
mod qwen2_vl;
mod resize;

pub use error::{Error, Result};
pub use image_processor::ImageProcessor;
pub use patches::Patches;
pub use qwen2_vl::{Qwen2VlVision, Qwen2VlVisionConfig};
pub use resize::{Resample, resize, smart_resize};
