/// What is wrong with a curriculum's settings, or with a state that was saved.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of its range.
    #[error("curriculum: `{setting}` {reason}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A list does not have one entry a stage.
    #[error("curriculum: `{setting}` has {found} entries for {stages} stages")]
    Stages {
        /// The setting's name.
        setting: &'static str,
        /// How many entries there are.
        found: usize,
        /// How many stages there are.
        stages: usize,
    },
    /// A saved state belongs to another schedule.
    #[error("the saved curriculum is `{found}` with {found_stages} stages, and this one `{kind}` with {stages}")]
    State {
        /// The saved kind.
        found: String,
        /// The saved number of stages.
        found_stages: usize,
        /// This curriculum's kind.
        kind: &'static str,
        /// This curriculum's number of stages.
        stages: usize,
    },
}

/// The result of everything that can fail here.
pub type Result<T> = std::result::Result<T, Error>;
