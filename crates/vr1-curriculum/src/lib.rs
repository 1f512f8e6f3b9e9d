#![doc = include_str!("../README.md")]

mod adaptive;
mod curriculum;
mod error;
mod schedule;
mod steps;

pub use adaptive::{Adaptive, AdaptiveSettings};
pub use curriculum::{Curriculum, State};
pub use error::{Error, Result};
pub use schedule::Schedule;
pub use steps::{Fixed, Linear, Staged};
