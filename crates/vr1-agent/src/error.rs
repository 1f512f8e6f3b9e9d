use crate::Role;

/// What can go wrong where several models work on one question.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A prompt template leaves out what it must show.
    #[error("the {role}'s prompt has no `{placeholder}`")]
    Template {
        /// Whose template it is.
        role: Role,
        /// The placeholder it lacks.
        placeholder: &'static str,
    },
    /// An engine answered other than it was asked.
    #[error("the {role}'s engine was asked for {wanted} {what} and gave {found}")]
    Engine {
        /// Whose engine it is.
        role: Role,
        /// What was counted.
        what: &'static str,
        /// How many were asked for.
        wanted: usize,
        /// How many came.
        found: usize,
    },
    /// Lists that belong together are not equally long.
    #[error("{found} {what} for {wanted} {of}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// What each should belong to.
        of: &'static str,
        /// How many of those there are.
        wanted: usize,
    },
    /// A path could not be judged.
    #[error("sample {sample}: {source}")]
    Reward {
        /// The sample.
        sample: String,
        /// The reward's reason.
        source: vr1_reward::Error,
    },
    /// A row cannot be made of a sample.
    #[error("sample `{sample}`: {source}")]
    Sample {
        /// The sample.
        sample: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A model that makes rows cannot be asked any more; what it answered is kept.
    #[error("sample `{sample}`: {reason}")]
    Teacher {
        /// The sample that it was asked about.
        sample: String,
        /// Why.
        reason: String,
    },
    /// What was answered before cannot be gone on with.
    #[error("{}: {reason}", path.display())]
    Journal {
        /// The journal.
        path: std::path::PathBuf,
        /// Why.
        reason: String,
    },
    /// Samples cannot be read.
    #[error(transparent)]
    Data(#[from] vr1_data::Error),
    /// Sampling failed.
    #[error(transparent)]
    Rollout(#[from] vr1_rollout::Error),
    /// A prompt cannot be made, or sampled ids cannot be spelt.
    #[error(transparent)]
    Processor(#[from] vr1_processor::Error),
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
