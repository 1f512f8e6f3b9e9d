#![doc = include_str!("../README.md")]

mod error;
mod score;

pub use error::{Error, Result};
pub use score::{Answer, Score, Scored, score};
