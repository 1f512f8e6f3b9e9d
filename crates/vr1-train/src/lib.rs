#![doc = include_str!("../README.md")]

mod ahead;
mod ask;
mod benchmarks;
mod beta;
mod canary;
mod complete;
mod course;
mod dealt;
mod derivation;
mod document;
mod dpo;
mod draw;
mod engines;
mod error;
mod evaluate;
mod grounding;
mod grpo;
mod import;
mod kto;
mod lora;
mod make;
mod objective;
mod pairs;
mod plan;
mod pool;
mod prompting;
mod recipe;
mod recorded;
mod rescore;
mod rewards;
mod rollout;
mod round;
mod run;
mod sent;
mod sft;
mod shown;
mod source;
mod template;
mod threads;
mod trainer;
mod watch;

pub use benchmarks::BenchmarkConfig;
pub use beta::{KlControl, KlPer};
pub use derivation::{Derivation, Rate, Spread, StageDerivation, Supply};
pub use document::DocumentConfig;
pub use dpo::Dpo;
pub use error::{Error, Result};
pub use grounding::GroundingConfig;
pub use grpo::{Grpo, Setting};
pub use import::{Fate, Finding, ImportOptions, Imported, System, import};
pub use kto::Kto;
pub use lora::{LoraParts, LoraRecipe};
pub use make::{
    AskConfig, Count, DeduplicateConfig, FilterConfig, KeepConfig, MakeRecipe, RewardConfig, ScoreConfig, ShowMedia,
    TeacherConfig,
};
pub use objective::{Collected, Objective};
pub use plan::{
    Adapts, Advice, AskedRow, AskedSource, BatchSize, Held, LayerShape, Length, Lengths, Machine, ModelShape, Phase,
    Plan, Rates, RowCount, Seconds, Sides, StagePlan, TowerShape,
};
pub use recipe::{
    Advantages, Better, DpoObjective, EvaluationConfig, GrpoObjective, KtoObjective, NotFinite, NotFiniteConfig,
    ObjectiveConfig, PairLossConfig, PairSource, PromptConfig, Recipe, RolloutConfig, SftObjective, StageConfig,
    StopConfig, ToolKind, ToolsConfig, Truncated, WeightedSource,
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
