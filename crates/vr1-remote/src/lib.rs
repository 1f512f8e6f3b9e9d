#![doc = include_str!("../README.md")]

mod answer;
mod chat;
mod config;
mod engine;
mod error;
mod gate;
mod request;
mod simulation;
mod wire;

pub use answer::{ChatAnswer, Choice, Finished, Usage};
pub use chat::Chat;
pub use config::ServerConfig;
pub use engine::{EngineConfig, Purpose, Push, ServerEngine, ServerKind};
pub use error::{Error, Result};
pub use request::{ChatMessage, ChatPart, ChatRequest, Format, Prefill};
pub use simulation::{Simulated, Simulation};
