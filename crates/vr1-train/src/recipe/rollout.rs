use serde::{Deserialize, Serialize};
use vr1_remote::EngineConfig;

/// How the model's own completions are decoded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutConfig {
    /// The most memory that prompts and completions take while they are decoded, in GB (10⁹ bytes), the model aside; without it, a
    /// part of what the device has free. What does not fit waits. Completions do not depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_gb: Option<f64>,
    /// Servers that hold copies of the model and sample in its place; without them this process samples itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineConfig>,
    /// With 1, servers sample the next step's completions while this one is learnt from: they are drawn by weights one update older than
    /// those that learn from them. With 0, each step waits for completions of its own weights.
    #[serde(skip_serializing_if = "is_none")]
    pub max_staleness_steps: u64,
}

fn is_none(steps: &u64) -> bool {
    *steps == 0
}

impl RolloutConfig {
    /// The same in bytes.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.memory_gb.map(|gb| (gb * 1e9) as u64)
    }
}
