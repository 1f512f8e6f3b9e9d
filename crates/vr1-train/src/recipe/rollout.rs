use serde::{Deserialize, Serialize};

/// How the model's own completions are decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutConfig {
    /// The most memory that prompts and completions take while they are decoded, in GB (10⁹ bytes), the model aside; without it, a
    /// part of what the device has free. What does not fit waits. Completions do not depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_gb: Option<f64>,
}

impl RolloutConfig {
    /// The same in bytes.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.memory_gb.map(|gb| (gb * 1e9) as u64)
    }
}
