#![doc = include_str!("../README.md")]

mod config;
mod error;
mod labelled;
mod labels;
mod loss;
mod neftune;
mod of_logprobs;
mod packing;

pub use config::{Alignment, IGNORED, Normalizer, Objective, SftConfig};
pub use error::{Error, Result};
pub use labelled::SftStats;
pub use labels::{Role, Span, TrainOn, labels_from_spans};
pub use loss::{sft_loss, weighted_sft_loss};
pub use neftune::neftune;
pub use of_logprobs::sft_loss_of_logprobs;
pub use packing::{Pack, pack, packed_boundaries, packed_labels, packed_position_ids};
