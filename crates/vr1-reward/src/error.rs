use crate::Diagnostic;

/// What went wrong while loading, checking or running a reward.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is not the YAML it should be.
    #[error("{reason}")]
    Yaml {
        /// What is wrong, and where.
        reason: String,
    },
    /// The program was read but is wrong: each fault with the source under it.
    #[error("{report}")]
    Program {
        /// Every fault.
        diagnostics: Vec<Diagnostic>,
        /// The faults as one text, as a compiler prints them.
        report: String,
    },
    /// The program fails tests of its own.
    #[error("{failed} of the reward program's {tests} tests failed\n{report}")]
    Tests {
        /// How many failed.
        failed: usize,
        /// How many there are.
        tests: usize,
        /// What differs, a line for each completion.
        report: String,
    },
    /// No built-in program has this name.
    #[error("no built-in reward program is called `{name}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownProgram {
        /// The name asked for.
        name: String,
        /// The nearest name there is.
        nearest: Option<String>,
    },
    /// The value to be used as a reward is missing.
    #[error("`{name}` has no value for this rollout")]
    Missing {
        /// The term, or `total`.
        name: String,
    },
    /// The reward of a rollout is missing.
    #[error("`total` has no value for this rollout{}", told(missing))]
    NoTotal {
        /// The terms, fields and tags without a value that leave it so.
        missing: Vec<String>,
    },
    /// A value is not of the type its place needs; only a sample's own fields, typed by nobody, can do this.
    #[error("`{place}` needs {expected}, but the value is {found}")]
    Type {
        /// The function or operator.
        place: String,
        /// The type it needs.
        expected: String,
        /// The type that came, and the value's beginning.
        found: String,
    },
    /// A verifier could not judge the rollout.
    #[error("verifier `{verifier}`: {reason}")]
    Verifier {
        /// The verifier's name.
        verifier: String,
        /// Why.
        reason: String,
    },
    /// A term has no value, because a verifier could not judge the rollout.
    #[error("`{term}`: {source}")]
    Term {
        /// The term, or `total`.
        term: String,
        /// What the verifier said.
        source: Box<Self>,
    },
    /// The rollout used more work than one rollout may.
    #[error("the reward of one rollout may spend {limit} units of work, and `{place}` needed more")]
    Fuel {
        /// The limit.
        limit: u64,
        /// The function that ran out.
        place: String,
    },
    /// The rollout took longer than one rollout may.
    #[error("the reward of one rollout may take {limit_ms} ms, and `{place}` was not done by then")]
    Deadline {
        /// The limit in milliseconds.
        limit_ms: u64,
        /// The function that was running.
        place: String,
    },
    /// A value is infinite or not a number.
    #[error("`{name}` is {value}, which is no reward")]
    NotFinite {
        /// The term, or `total`.
        name: String,
        /// The value.
        value: f64,
    },
    /// A recorded rollout could not be read.
    #[error("{reason}")]
    Row {
        /// What is wrong with it.
        reason: String,
    },
    /// A setting is out of its range.
    #[error("{reason}")]
    Setting {
        /// Which, and the range.
        reason: String,
    },
}

/// What is missing, behind what lacks it.
fn told(missing: &[String]) -> String {
    let names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => format!(": {one} is missing"),
        [several @ .., last] => format!(": {} and {last} are missing", several.join(", ")),
    }
}

impl Error {
    /// A verifier's own failure, for use in a user's verifier.
    #[must_use]
    pub fn verifier(verifier: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Verifier { verifier: verifier.into(), reason: reason.into() }
    }
}

impl Error {
    /// The same error; of a verifier with the term that asked it.
    pub(crate) fn of_term(self, term: &str) -> Self {
        match self {
            Self::Verifier { .. } => Self::Term { term: term.to_owned(), source: Box::new(self) },
            other => other,
        }
    }
}

/// The result of everything that can fail here.
pub type Result<T> = std::result::Result<T, Error>;
