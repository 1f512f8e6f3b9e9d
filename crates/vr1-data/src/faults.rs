//! Collects what is wrong with the rows of a file, so that one reading names every bad row.

use std::path::Path;

use serde_json::Value;

use crate::{Error, Fields, Result};

/// How many bad rows an error lists before it only counts them.
const LISTED: usize = 20;

/// How many characters of a value a fault repeats.
const REPEATED: usize = 60;

/// How many characters a fault's reason has at most, whatever it repeats.
const REASON: usize = 600;

/// What a row's reason says where a file that it names is not there, and where it has more or fewer media than places for them.
pub(crate) const NO_FILE: &str = "no file";
pub(crate) const PLACES: &str = "the prompt has places for";

/// What is wrong with a row, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowFault {
    /// A file that it names is not there.
    Missing,
    /// It has places for more or fewer media than it shows.
    Places,
    /// Something else.
    Malformed,
}

impl RowFault {
    /// By the reason that a set gives for it.
    #[must_use]
    pub fn of(reason: &str) -> Self {
        match () {
            () if reason.contains(&format!(": {NO_FILE} ")) => Self::Missing,
            () if reason.contains(PLACES) => Self::Places,
            () => Self::Malformed,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    listed: Vec<String>,
    more: usize,
}

impl Faults {
    /// Notes a fault at line or row `at`, counted from 1.
    pub(crate) fn note(&mut self, path: &Path, at: usize, reason: &str) {
        if self.listed.len() < LISTED {
            self.listed.push(fault(path, at, reason));
        } else {
            self.more += 1;
        }
    }

    /// An error where anything was noted.
    pub(crate) fn into_result(self) -> Result<()> {
        if self.listed.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }

    /// What was noted, as an error.
    pub(crate) fn into_error(self) -> Error {
        Error::Rows { faults: self.into_listed() }
    }

    /// What was noted.
    pub(crate) fn into_listed(mut self) -> Vec<String> {
        if self.more > 0 {
            self.listed.push(format!("… and {} more", self.more));
        }
        self.listed
    }
}

/// A fault as an error tells it.
pub(crate) fn fault(path: &Path, at: usize, reason: &str) -> String {
    format!("{}:{at}: {}", path.display(), cut(reason, REASON))
}

/// A text, or how it begins.
pub(crate) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The keys of an object as a fault names them: all, or the first of many.
pub(crate) fn keys(fields: &Fields) -> String {
    const NAMED: usize = 16;
    let named: Vec<_> = fields.keys().take(NAMED).map(|key| cut(key, REPEATED)).collect();
    let more = if fields.len() > NAMED { ", …" } else { "" };
    if named.is_empty() { "none".to_owned() } else { named.join(", ") + more }
}

/// A value as a fault names it: its JSON, or how that begins.
pub(crate) fn shortened(value: &Value) -> String {
    cut(&value.to_string(), REPEATED)
}
