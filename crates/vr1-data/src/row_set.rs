use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::rows::{Row, Rows};
use crate::{Result, RowSource};

/// What the rows of files become, each read when it is asked for: of a [`SampleSet`](crate::SampleSet), a
/// [`PreferenceSet`](crate::PreferenceSet) or a [`JudgedSet`](crate::JudgedSet).
///
/// Of the rows only where they begin is held in memory. The first 256 MiB are read and checked when the set is opened, so
/// that every bad row in them is named at once; one behind them is an error when it is asked for.
#[derive(Debug, Clone)]
pub struct RowSet<T> {
    rows: Rows,
    images: PathBuf,
    parse: fn(Row, &Path) -> Result<T, String>,
}

impl<T> RowSet<T> {
    /// Finds the rows and checks the first of them.
    pub(crate) fn checked(source: &RowSource, parse: fn(Row, &Path) -> Result<T, String>) -> Result<Self> {
        let found = source.resolved()?;
        let images = found.folder();
        let rows = Rows::open(&found, source.name(), |row| parse(row, &images).map(drop))?;
        Ok(Self { rows, images, parse })
    }

    /// Goes through the rows of a source in order, good and bad, and hands each over with its file and place, as `file:line`, and
    /// what it is or what is wrong with it, until it is told to stop. No more than one row is held; nothing of it is checked before.
    ///
    /// # Errors
    /// When a file is missing or holds no rows at all, a filter names no column, or nothing is left of the rows. What is wrong with
    /// a file's end is handed over as a row is.
    pub(crate) fn visited(
        source: &RowSource,
        parse: fn(Row, &Path) -> Result<T, String>,
        mut to: impl FnMut(&str, Result<T, String>) -> ControlFlow<()>,
    ) -> Result<()> {
        let found = source.resolved()?;
        let images = found.folder();
        let (rows, noted) = Rows::all(&found, source.name())?;
        if rows.visit(&mut |place, row| to(&place, row.and_then(|row| parse(row, &images)))).is_break() {
            return Ok(());
        }
        for fault in noted {
            // A fault is told as `file:line: reason`.
            let (place, reason) = fault.split_once(": ").unwrap_or((&fault, ""));
            if to(place, Err(reason.to_owned())).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The name of the file, without its ending, or of the folder.
    #[must_use]
    pub fn name(&self) -> &str {
        self.rows.name()
    }

    /// The number of rows.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a set without rows does not open")]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row at `index`, read from its file.
    ///
    /// # Errors
    /// When there is no such row, it is malformed, or its file is no longer what it was when it was opened.
    pub fn get(&self, index: usize) -> Result<T> {
        self.rows.read(index, |row| (self.parse)(row, &self.images))
    }
}

/// The rows of a file, the paths of whose media are relative to `images`.
pub(crate) fn beside(path: &Path, images: &Path) -> RowSource {
    RowSource { images: Some(images.to_owned()), ..RowSource::all(path) }
}
