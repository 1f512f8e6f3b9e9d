#![cfg_attr(feature = "tch", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "tch"),
    doc = "Group advantages and the settings of the GRPO family; the losses need the feature `tch`."
)]
#![cfg_attr(not(feature = "tch"), allow(rustdoc::broken_intra_doc_links))]

mod advantages;
#[cfg(feature = "tch")]
mod batch;
mod compat;
mod config;
mod credit;
mod error;
mod groups;
#[cfg(feature = "tch")]
mod loss;
mod many_rewards;
#[cfg(feature = "tch")]
mod masks;
#[cfg(feature = "tch")]
mod policy;
mod range;
#[cfg(feature = "serde")]
mod recipe;
mod reinforce;
#[cfg(feature = "tch")]
mod stats;

pub use advantages::{
    AdvantageConfig, Baseline, GroupOfOne, Scale, advantages, advantages_by_group, group_advantages, teaches_nothing,
};
pub use compat::Compat;
pub use config::{
    Aggregation, CispoCap, EmptyRows, EntropyMask, GrpoConfig, Importance, KlEstimator, KlGradient, KlWeight,
    Normalizer, Objective, SamplerCorrection,
};
pub use credit::{returns_to_go, whiten_by_tokens};
pub use error::{Error, Result};
#[cfg(feature = "tch")]
pub use loss::{Extras, grpo_loss, grpo_loss_with};
pub use many_rewards::{per_reward_advantages, per_reward_advantages_by_group, weighted_rewards};
#[cfg(feature = "tch")]
pub use masks::{entropy_threshold, mask_truncated};
pub use reinforce::{ReinforceConfig, Whitening, kl_in_reward, reinforce_advantages};
#[cfg(feature = "tch")]
pub use stats::GrpoStats;
