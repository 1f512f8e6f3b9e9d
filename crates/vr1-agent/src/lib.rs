#![doc = include_str!("../README.md")]

mod error;
mod make;
mod paths;
mod template;
mod tools;
mod two_agents;

pub use error::{Error, Result};
pub use make::{
    Call, Choose, Deduplicate, Dropped, EngineTeacher, Failure, Filtering, Journal, Judging, Keep, Kept, Making,
    Prompted, Replied, Reply, Scoring, ServerTeacher, StepWords, Tally, Teacher, Wanted, Wording, make,
};
pub use paths::{BestPath, best_path, ranked, score_paths};
pub use template::{AgentPrompts, Role, thoughts};
pub use tools::{Observation, Seen, Tool, ToolEngine, Zoom};
pub use two_agents::{Agent, Asked, Engines, ReasonThenSummarise, TwoAgentAnswer};
