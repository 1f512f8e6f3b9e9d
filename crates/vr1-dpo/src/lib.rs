#![doc = include_str!("../README.md")]

mod batch;
mod config;
mod error;
mod kto;
mod lengths;
mod loss;
mod mixture;
mod objective;
mod pairs;
mod range;
#[cfg(feature = "serde")]
mod recipe;
mod reference_free;

pub use config::{Divergence, DpoConfig, DpoLoss, Normalizer};
pub use error::{Error, Result};
pub use kto::{KtoConfig, KtoLoss, KtoStats, kto_kl, kto_loss};
pub use lengths::{length_desensitized, wpo_weights};
pub use loss::{DpoStats, Extras, dpo_loss, dpo_loss_with};
pub use mixture::{MPO, RPO, dpo_mixture_loss};
pub use pairs::{Pair, PairRule, preference_pairs, preference_pairs_by_group};
pub use reference_free::{ReferenceFreeConfig, ReferenceFreeLoss, ReferenceFreeStats, reference_free_loss};
