#![doc = include_str!("../README.md")]

mod advantages;
mod config;
mod error;
#[cfg(feature = "tch")]
mod loss;
#[cfg(feature = "tch")]
mod masks;
#[cfg(feature = "tch")]
mod policy;
#[cfg(feature = "tch")]
mod stats;

pub use advantages::{AdvantageConfig, Baseline, GroupOfOne, Scale, advantages, group_advantages, teaches_nothing};
pub use config::{
    Aggregation, CispoCap, EmptyRows, EntropyMask, GrpoConfig, Importance, KlEstimator, KlWeight, Normalizer,
    Objective, SamplerCorrection,
};
pub use error::{Error, Result};
#[cfg(feature = "tch")]
pub use loss::{Extras, grpo_loss, grpo_loss_with};
#[cfg(feature = "tch")]
pub use masks::{entropy_threshold, mask_truncated};
#[cfg(feature = "tch")]
pub use stats::GrpoStats;
