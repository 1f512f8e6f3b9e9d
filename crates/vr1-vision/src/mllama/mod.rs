//! The vision tower of Llama 3.2 Vision ([arXiv:2407.21783](https://arxiv.org/abs/2407.21783), section 7.1): a picture in up to so many
//! tiles, all tiles encoded together, then by layers behind gates; what its layers made on the way is among its features. A language
//! model attends to these across.

mod block;
mod config;
mod embeddings;
mod model;
mod padding;

use config::MllamaVisionConfig;
pub use config::mllama;
use model::MllamaVision;
