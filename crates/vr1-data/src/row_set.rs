use std::path::{Path, PathBuf};

use crate::Result;
use crate::rows::{Row, Rows};

/// What the rows of a file become, each read when it is asked for: of a [`PreferenceSet`](crate::PreferenceSet) or a
/// [`JudgedSet`](crate::JudgedSet).
#[derive(Debug, Clone)]
pub struct RowSet<T> {
    rows: Rows,
    images: PathBuf,
    parse: fn(Row, &Path) -> Result<T, String>,
}

impl<T> RowSet<T> {
    /// Reads and checks every row, and keeps where it stands.
    pub(crate) fn checked(path: &Path, images: &Path, parse: fn(Row, &Path) -> Result<T, String>) -> Result<Self> {
        let rows = Rows::open(path, |row| parse(row, images).map(drop))?;
        Ok(Self { rows, images: images.to_owned(), parse })
    }

    /// The file's name without its ending.
    #[must_use]
    pub fn name(&self) -> &str {
        self.rows.name()
    }

    /// The number of rows.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a file without rows does not open")]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row at `index`, read from the file.
    ///
    /// # Errors
    /// When there is no such row, or the file is no longer what it was when it was opened.
    pub fn get(&self, index: usize) -> Result<T> {
        self.rows.read(index, |row| (self.parse)(row, &self.images))
    }
}
