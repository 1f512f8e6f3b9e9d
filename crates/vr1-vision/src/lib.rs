#![doc = include_str!("../README.md")]

mod error;
mod frame_sampling;
mod image_processor;
mod patches;
mod qwen2_5_vl;
mod qwen2_vl;
mod resize;
mod settings;
mod tower;
mod video_processor;

pub use error::{Error, Result};
pub use frame_sampling::FrameSampling;
pub use image_processor::ImageProcessor;
pub use patches::Patches;
pub use qwen2_5_vl::qwen2_5_vl;
pub use qwen2_vl::qwen2_vl;
pub use resize::{Resample, resize, smart_resize};
pub use tower::{Cut, VisionConfig, VisionTower};
pub use video_processor::VideoProcessor;
