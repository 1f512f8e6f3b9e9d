#![doc = include_str!("../README.md")]

mod config;
mod error;
mod labels;
mod loss;

pub use config::{Alignment, IGNORED, Normalizer, Objective, SftConfig};
pub use error::{Error, Result};
pub use labels::{Role, Span, TrainOn, labels_from_spans};
pub use loss::{SftStats, sft_loss, weighted_sft_loss};
