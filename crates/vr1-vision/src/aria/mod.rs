//! The tower of Aria ([arXiv:2410.05993](https://arxiv.org/abs/2410.05993)): a plain vision transformer, whose states a fixed number
//! of queries attend to.

mod config;
mod model;
mod projector;

use config::AriaVisionConfig;
pub use config::aria;
use model::AriaVision;
use projector::Projector;
