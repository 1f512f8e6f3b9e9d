//! What recipes need beside the derives.

use serde::{Deserialize, Deserializer};

/// For variants without a field: serde lets keys beside their `kind` pass, and such a setting would do nothing.
pub(crate) fn nothing_else<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    Nothing::deserialize(deserializer).map(|Nothing {}| ())
}

pub(crate) fn one() -> f64 {
    1.0
}

pub(crate) fn two() -> f64 {
    2.0
}

pub(crate) fn three() -> f64 {
    3.0
}

/// SAPO's temperature where the advantage is not positive.
pub(crate) fn sapo_negative() -> f64 {
    1.05
}
