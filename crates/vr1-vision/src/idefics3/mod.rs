//! The tower of Idefics3 ([arXiv:2408.12637](https://arxiv.org/abs/2408.12637)) and SmolVLM
//! ([arXiv:2504.05299](https://arxiv.org/abs/2504.05299)): a plain vision transformer, whose states in squares of patches become
//! one token each.

mod config;
mod model;

use config::Idefics3VisionConfig;
pub use config::idefics3;
use model::Idefics3Vision;
