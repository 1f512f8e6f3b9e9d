use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Columns, Filter, Portion, Take};

/// Rows: where they are, what their columns are called, and which of them are taken.
///
/// ```
/// use vr1_data::{RowSource, SampleSet};
///
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("a.jsonl"), "{\"task\": \"2 + 2?\", \"gold\": 4, \"level\": 1}\n{\"task\": \"3 * 3?\", \"gold\": 9, \"level\": 2}\n")?;
/// let source: RowSource = serde_json::from_value(serde_json::json!({
///     "path": dir.path(), "columns": {"question": "task", "answer": "gold"}, "filters": [{"column": "level", "is": 2}],
/// }))?;
/// let samples = SampleSet::of(&source)?;
/// assert_eq!(samples.len(), 1);
/// assert_eq!((samples.get(0)?.question, samples.get(0)?.solution), ("3 * 3?".to_owned(), "9".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowSource {
    /// A file of rows, or a folder of such.
    pub path: PathBuf,
    /// Which files of a folder: a name below it in which `*` stands for anything but `/`, as in `train-*.parquet` or
    /// `*/*.jsonl`. Without it, all that hold rows, in its own folders too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    /// The folder that paths of media are relative to; without it the folder, or the file's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<PathBuf>,
    /// Names of columns, where they are not those that are read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub columns: Columns,
    /// Tests that a row has to pass, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// A side of a division in two, of the rows that pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Portion>,
    /// How many of what is left.
    #[serde(default, skip_serializing_if = "is_default")]
    pub take: Take,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl RowSource {
    /// All rows of a file or a folder.
    #[must_use]
    pub fn all(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// What paths of media are relative to, the rows being found at `path`.
    pub(crate) fn folder(&self, path: &Path) -> PathBuf {
        let own = || if path.is_dir() { path.to_owned() } else { path.parent().unwrap_or(Path::new(".")).to_owned() };
        self.images.clone().unwrap_or_else(own)
    }
}
