//! The tower of LLaVA ([arXiv:2310.03744](https://arxiv.org/abs/2310.03744)) and LLaVA-NeXT: CLIP or SigLIP, whose states behind
//! some block an MLP brings to the language model's width; pictures in one tile, or whole in one and in tiles on a canvas.

mod config;
mod model;

use config::LlavaVisionConfig;
pub use config::{llava, llava_next};
use model::LlavaVision;
