#![doc = include_str!("../README.md")]

mod ahead;
mod ask;
mod beta;
mod complete;
mod course;
mod document;
mod dpo;
mod draw;
mod error;
mod evaluate;
mod grpo;
mod kto;
mod lora;
mod objective;
mod pairs;
mod pool;
mod prompting;
mod recipe;
mod recorded;
mod rescore;
mod rewards;
mod rollout;
mod run;
mod sft;
mod shown;
mod source;
mod template;
mod threads;
mod trainer;

pub use beta::{KlControl, KlPer};
pub use document::DocumentConfig;
pub use dpo::Dpo;
pub use error::{Error, Result};
pub use grpo::{Grpo, Setting};
pub use kto::Kto;
pub use lora::{LoraParts, LoraRecipe};
pub use objective::{Collected, Objective};
pub use recipe::{
    Advantages, Better, DpoObjective, EvaluationConfig, GrpoObjective, KtoObjective, NotFinite, NotFiniteConfig,
    ObjectiveConfig, PairLossConfig, PairSource, PromptConfig, Recipe, RolloutConfig, SftObjective, StageConfig,
    StopConfig, Truncated, WeightedSource,
};
pub use rescore::{Changed, Rescored, rescore};
pub use rewards::OnError;
pub use rollout::Rollout;
pub use run::{Run, Stepped};
pub use sft::{Sft, words};
pub use shown::{Shown, ShownKind};
pub use source::Source;
pub use template::Template;
pub use trainer::{Difference, Replay, RunOptions, Trainer};
