use std::fmt;

use serde_json::Value;

/// A key of a configuration, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Whether the configuration says it, rather than the system by its default.
    pub said: bool,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It stands in the recipe.
    Taken {
        /// Under which key.
        to: String,
        /// How, where that is not plain.
        how: Option<String>,
        /// In what it is not the same, if in anything.
        but: Option<String>,
    },
    /// It says what holds anyway.
    Same,
    /// Nothing has to be said, and why.
    NotNeeded(String),
    /// There is no such thing here, and why that matters.
    NotSupported(String),
    /// No key that the system is known to have.
    Unknown,
}

impl Fate {
    /// The kinds in the order in which they are told, with their titles.
    pub(super) const KINDS: [(&'static str, u8); 5] = [
        ("taken", 0),
        ("not supported", 3),
        ("not known, and nothing was done with it", 4),
        ("the same as what holds anyway", 1),
        ("not needed", 2),
    ];

    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Taken { .. } => 0,
            Self::Same => 1,
            Self::NotNeeded(_) => 2,
            Self::NotSupported(_) => 3,
            Self::Unknown => 4,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = if self.said { "" } else { " (its default)" };
        write!(f, "{}: {}{default}", self.key, self.value)?;
        match &self.fate {
            Fate::Taken { to, how, but } => {
                write!(f, " → {to}")?;
                how.iter().chain(but).try_for_each(|more| write!(f, "; {more}"))
            }
            Fate::NotNeeded(why) | Fate::NotSupported(why) => write!(f, " ({why})"),
            Fate::Same | Fate::Unknown => Ok(()),
        }
    }
}
