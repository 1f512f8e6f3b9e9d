#![doc = include_str!("../README.md")]

mod error;
#[cfg(feature = "judge")]
mod judge;
mod score;

pub use error::{Error, Result};
#[cfg(feature = "judge")]
pub use judge::{Judge, JudgeError};
pub use score::{Answer, Score, Scored, Tally};
