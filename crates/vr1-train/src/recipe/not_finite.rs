use serde::{Deserialize, Serialize};

/// What becomes of a step whose log-probabilities, loss, gradient or parameters are not finite. It changes nothing, whatever is said here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotFiniteConfig {
    /// Whether the run goes on.
    pub action: NotFinite,
    /// After how many such steps in a row it ends all the same.
    pub most_in_a_row: u64,
}

impl Default for NotFiniteConfig {
    fn default() -> Self {
        Self { action: NotFinite::Stop, most_in_a_row: 3 }
    }
}

/// Whether a run goes on after a step that is not finite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotFinite {
    /// It ends with the error; what it had learnt is saved.
    #[default]
    Stop,
    /// It goes on with the next step's samples.
    Skip,
}
