#![doc = include_str!("../README.md")]

mod config;
mod error;
mod loss;

pub use config::{Divergence, DpoConfig, DpoLoss, Normalizer};
pub use error::{Error, Result};
pub use loss::{DpoStats, Extras, dpo_loss, dpo_loss_with};
