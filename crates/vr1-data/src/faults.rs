//! Collects what is wrong with the rows of a file, so that one reading names every bad row.

use std::path::Path;

use serde_json::Value;

use crate::{Error, Result};

/// How many bad rows an error lists before it only counts them.
const LISTED: usize = 20;

/// How many characters of a value a fault repeats.
const REPEATED: usize = 60;

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
    pub(crate) fn into_result(mut self) -> Result<()> {
        if self.more > 0 {
            self.listed.push(format!("… and {} more", self.more));
        }
        if self.listed.is_empty() { Ok(()) } else { Err(Error::Rows { faults: self.listed }) }
    }
}

/// A fault as an error tells it.
pub(crate) fn fault(path: &Path, at: usize, reason: &str) -> String {
    format!("{}:{at}: {reason}", path.display())
}

/// A value as a fault names it: its JSON, or how that begins.
pub(crate) fn shortened(value: &Value) -> String {
    let json = value.to_string();
    match json.char_indices().nth(REPEATED) {
        Some((end, _)) => format!("{}…", &json[..end]),
        None => json,
    }
}
