use std::path::PathBuf;

/// How many bad rows an error lists before it only counts them.
const LISTED: usize = 20;

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
    /// There is no such benchmark.
    #[error("there is no benchmark {name:?}; there are {known}")]
    Benchmark {
        /// What was asked for.
        name: String,
        /// Those there are.
        known: String,
    },
    /// Files of a benchmark that are not as it is published.
    #[error("{}", .faults.join("\n"))]
    Rows {
        /// Each fault: the file, the row, the column and the reason.
        faults: Vec<String>,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder holds an evaluation with other settings.
    #[error("{}: it holds an evaluation whose {setting} is {there}, and not {asked}; take another folder", path.display())]
    OtherSettings {
        /// The file that says so.
        path: PathBuf,
        /// The setting.
        setting: String,
        /// What it was.
        there: String,
        /// What it should be now.
        asked: String,
    },
    /// A benchmark that only a judge can score.
    #[error("{benchmark} is scored by a language model, and no judge is given")]
    NoJudge {
        /// The benchmark.
        benchmark: &'static str,
    },
    /// A data set that cannot be read.
    #[error(transparent)]
    Data(#[from] vr1_data::Error),
    /// An engine that fails, or a prompt that it cannot take.
    #[error(transparent)]
    Rollout(#[from] vr1_rollout::Error),
    /// A prompt that cannot be made.
    #[error("{at}: {source}")]
    Prompt {
        /// The question's file and row.
        at: String,
        /// Why.
        source: vr1_processor::Error,
    },
}

impl Error {
    /// An error where there are faults.
    pub(crate) fn rows(mut faults: Vec<String>) -> Result<()> {
        let more = faults.len().saturating_sub(LISTED);
        faults.truncate(LISTED);
        if more > 0 {
            faults.push(format!("… and {more} more"));
        }
        if faults.is_empty() { Ok(()) } else { Err(Self::Rows { faults }) }
    }

    /// A single fault.
    pub(crate) fn row(fault: String) -> Self {
        Self::Rows { faults: vec![fault] }
    }
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
