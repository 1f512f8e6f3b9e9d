//! Why a document was refused, and where in it.

use std::{fmt, io, path::PathBuf};

/// Why a YAML document could not be read: it names the file, the place, the dotted key and the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum YamlError {
    /// The file itself cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The text is not YAML.
    #[error("{place}: {reason}")]
    Syntax {
        /// Where the parser gave up.
        place: Place,
        /// What it met there.
        reason: String,
    },
    /// An override is not `key=value`, or its key leads nowhere.
    #[error("--set {text}: {reason}")]
    Override {
        /// The override as given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The YAML is sound but does not say what was expected of it.
    #[error("{place}: {}{reason}", if key.is_empty() { String::new() } else { format!("{key}: ") })]
    Invalid {
        /// Where the fault stands.
        place: Place,
        /// The dotted path of the key, empty for the document as a whole.
        key: String,
        /// What is wrong, with the nearest right name where there is one.
        reason: String,
    },
}

/// Where in the input a fault stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In the text, counted from 1.
    Text {
        /// The file, or the name given with the text.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// In an override; the text is what stood after `--set`.
    Override(String),
    /// Somewhere in the document.
    Whole(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Override(text) => write!(f, "--set {text}"),
            Self::Whole(name) => f.write_str(name),
        }
    }
}

pub(super) fn syntax(name: &str, error: &serde_yaml::Error) -> YamlError {
    let name = name.to_owned();
    let place = match error.location() {
        Some(at) => Place::Text { name, line: at.line(), column: at.column() },
        None => Place::Whole(name),
    };
    YamlError::Syntax { place, reason: bare(error) }
}

/// libyaml's messages carry their own "at line L column C"; it is said once, in front.
pub(super) fn bare(error: &serde_yaml::Error) -> String {
    let said = error.to_string();
    error
        .location()
        .map_or(said.clone(), |at| said.replacen(&format!(" at line {} column {}", at.line(), at.column()), "", 1))
}
