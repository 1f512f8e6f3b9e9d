#![doc = include_str!("../README.md")]

mod ask;
mod benchmark;
mod benchmarks;
mod choices;
mod config;
mod detection;
mod edits;
mod error;
mod evaluate;
mod extraction;
mod gold;
mod interval;
mod item;
#[cfg(feature = "judge")]
mod judge;
mod judging;
mod mark;
mod marker;
mod questions;
mod record;
mod row;
mod rows;
mod score;
mod summary;
mod tables;

pub use ask::{Ask, Asking};
pub use benchmark::Benchmark;
pub use config::{BoxUnits, EvalConfig, Turns};
pub use error::{Error, Result};
pub use evaluate::{Answering, evaluate};
pub use extraction::{Extraction, How};
pub use gold::Gold;
pub use interval::{Estimate, Interval};
pub use item::Item;
#[cfg(feature = "judge")]
pub use judge::{Judge, JudgeError};
pub use mark::Mark;
pub use questions::Questions;
pub use record::Record;
pub use score::{Answer, Score, Scored, Tally};
pub use summary::{Metrics, Summary};
