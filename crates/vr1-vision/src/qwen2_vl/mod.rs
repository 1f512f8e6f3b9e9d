//! The vision tower of Qwen2-VL ([arXiv:2409.12191](https://arxiv.org/abs/2409.12191), section 2.1).

mod block;
mod config;
mod model;

use config::Qwen2VlVisionConfig;
pub use config::qwen2_vl;
use model::Qwen2VlVision;
