#![doc = include_str!("../README.md")]

mod ahead;
mod ask;
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
mod plan;
mod pool;
mod prompting;
mod recipe;
mod rewards;
mod run;
mod sft;
mod source;
mod template;
mod threads;
mod trainer;

pub use document::DocumentConfig;
pub use dpo::Dpo;
pub use error::{Error, Result};
pub use grpo::{Grpo, Setting};
pub use kto::Kto;
pub use lora::{LoraParts, LoraRecipe};
pub use objective::{Collected, Objective, Rollout};
pub use plan::{
    Adapts, Advice, AskedRow, AskedSource, BatchSize, Held, Length, Lengths, Machine, ModelShape, Phase, Plan, Rates,
    RowCount, Seconds, Sides, StagePlan, TowerShape,
};
pub use recipe::{
    Advantages, DpoObjective, EvaluationConfig, GrpoObjective, KtoObjective, ObjectiveConfig, PairLossConfig,
    PairSource, PromptConfig, Recipe, RolloutConfig, SftObjective, StageConfig, Truncated, WeightedSource,
};
pub use rewards::OnError;
pub use run::{Run, Stepped};
pub use sft::{Sft, words};
pub use source::Source;
pub use template::Template;
pub use trainer::{RunOptions, Trainer};
