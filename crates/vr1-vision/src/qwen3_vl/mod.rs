//! The vision tower of Qwen3-VL ([arXiv:2511.21631](https://arxiv.org/abs/2511.21631)): learned positions that are stretched to
//! each picture, and features of several depths (DeepStack, [arXiv:2406.04334](https://arxiv.org/abs/2406.04334)).

mod block;
mod config;
mod merger;
mod model;
mod positions;

use config::Qwen3VlVisionConfig;
pub use config::qwen3_vl;
use model::Qwen3VlVision;
