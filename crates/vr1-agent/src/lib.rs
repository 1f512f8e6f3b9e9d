#![doc = include_str!("../README.md")]

mod error;
mod paths;
mod template;
mod two_agents;

pub use error::{Error, Result};
pub use paths::{BestPath, best_path, ranked, score_paths};
pub use template::{AgentPrompts, Role, thoughts};
pub use two_agents::{Agent, Asked, Engines, ReasonThenSummarise, TwoAgentAnswer};
