//! Settings within their ranges, or an error that names the field and the range. Losses are computed in f32, so that a number of which
//! products are infinite there is as good as infinite.

use crate::{Error, Result};

/// Products of two numbers as large as this are still finite in f32, in which losses are computed.
pub(crate) const LARGEST: f64 = 1e18;

pub(crate) fn within(field: &'static str, expected: &'static str, got: f64, valid: bool) -> Result<()> {
    if valid { Ok(()) } else { Err(Error::Setting { field, expected, got }) }
}

fn is_finite(number: f64) -> bool {
    number.abs() <= LARGEST
}

pub(crate) fn finite(field: &'static str, got: f64) -> Result<()> {
    within(field, "a finite number", got, is_finite(got))
}

pub(crate) fn not_negative(field: &'static str, got: f64) -> Result<()> {
    within(field, "a finite number ≥ 0", got, is_finite(got) && got >= 0.0)
}

pub(crate) fn positive(field: &'static str, got: f64) -> Result<()> {
    within(field, "a positive number", got, is_finite(got) && got > 0.0)
}
