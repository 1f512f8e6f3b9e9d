//! The rewards' tests, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod builtin;
mod field_cases_rewards;
mod language;
mod limits;
mod math;
mod math_field_cases;
mod math_forms;
mod outside;
mod places;
mod reading;
mod verifiers;
