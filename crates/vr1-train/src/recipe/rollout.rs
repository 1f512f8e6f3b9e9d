use serde::{Deserialize, Serialize};
use vr1_agent::{Tool, Zoom};
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
    /// Tools that completions may call, in training and in evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolsConfig>,
}

/// Tools that a model may call while it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolsConfig {
    /// Which.
    pub kinds: Vec<ToolKind>,
    /// The most calls of a completion; a turn that calls once more is its last.
    #[serde(default = "calls")]
    pub max_calls: usize,
}

fn calls() -> usize {
    3
}

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// [`Zoom`]: a part of a picture, shown larger.
    Zoom,
}

impl ToolsConfig {
    /// The tools themselves.
    pub(crate) fn tools(&self) -> Vec<Box<dyn Tool>> {
        let tool = |kind: &ToolKind| match kind {
            ToolKind::Zoom => Box::new(Zoom) as Box<dyn Tool>,
        };
        self.kinds.iter().map(tool).collect()
    }
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
