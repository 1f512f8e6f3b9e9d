//! What recipes need beside the derives.

use serde::{Deserialize, Deserializer};

/// For variants without a field: serde lets keys beside their `kind` pass, and such a setting would do nothing.
pub(crate) fn nothing_else<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    Nothing::deserialize(deserializer).map(|Nothing {}| ())
}

/// DiscoPOP's τ.
pub(crate) fn discopop_temperature() -> f64 {
    0.05
}

/// SimPO's γ.
pub(crate) fn simpo_gamma() -> f64 {
    1.0
}
