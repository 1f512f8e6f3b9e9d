#![doc = include_str!("../README.md")]

mod compared;
mod cut;
mod dpo;
mod error;
mod features;
mod grpo;
mod known;
mod kto;
mod learner;
mod loss;
mod optimizer;
mod own;
mod part;
mod reference;
mod references;
mod routed;
mod schedule;
mod score;
mod sft;
mod signals;
mod stats;
mod times;

pub use dpo::{PairLoss, PreferenceLoss, WeightedLoss};
pub use error::{Error, Result};
pub use grpo::PolicyLoss;
pub use kto::JudgedLoss;
pub use learner::{Learner, LearnerConfig, Step, Update};
pub use loss::{Counts, Coupling, Loss, Needs, Old, Reach, Scored};
pub use optimizer::{Method, Moments, Optimizer, OptimizerConfig, ParameterGroup};
pub use reference::ReferenceConfig;
pub use schedule::{Schedule, Shape, Span, Wsd};
pub use score::{SequenceLogprobs, logprobs};
pub use sft::ImitationLoss;
pub use signals::Signals;
pub use stats::{Fold, Stats};
