#![doc = include_str!("../README.md")]

mod qwen2;

pub use qwen2::{Qwen2, Qwen2Config, RopeParameters};
