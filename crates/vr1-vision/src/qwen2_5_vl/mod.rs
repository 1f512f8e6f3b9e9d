//! The vision tower of Qwen2.5-VL ([arXiv:2502.13923](https://arxiv.org/abs/2502.13923), section 2.1.1): attention in
//! windows but for a few blocks, RMSNorm, and a gated MLP.

mod block;
mod config;
mod model;
mod windows;

use config::Qwen25VlVisionConfig;
pub use config::qwen2_5_vl;
use model::Qwen25VlVision;
