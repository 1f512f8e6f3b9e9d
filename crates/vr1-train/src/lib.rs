#![doc = include_str!("../README.md")]

mod document;
mod error;
mod evaluate;
mod grpo;
mod lora;
mod muon;
mod optimizer;
mod policy;
mod recipe;
mod schedule;
mod sft;
mod source;
mod template;
mod trainer;

pub use document::DocumentConfig;
pub use error::{Error, Result};
pub use lora::{LoraParts, LoraRecipe};
pub use optimizer::{Method, Optimizer, OptimizerConfig};
pub use policy::{GroupLogprobs, ModelPolicy, Policy};
pub use recipe::{EvaluationConfig, GrpoObjective, Objective, PromptConfig, Recipe, SftObjective};
pub use schedule::Schedule;
pub use source::Source;
pub use template::Template;
pub use trainer::{RunOptions, Trainer, words};
