/// What can go wrong while scoring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reward program has no such term.
    #[error("the reward has no term {term:?}; it has {known}")]
    UnknownTerm {
        /// What was asked for.
        term: String,
        /// The terms there are.
        known: String,
    },
    /// A rollout that the reward cannot score.
    #[error("sample `{sample}`: {source}")]
    Reward {
        /// The sample.
        sample: String,
        /// Why.
        source: vr1_reward::Error,
    },
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
