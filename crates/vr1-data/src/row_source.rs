use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Columns, Filter, Portion, Result, Take};

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
    /// A file of rows, a folder of such, a YAML file that lists some as VLM-R1's do, or a Hub id, `OWNER/NAME` or `OWNER/NAME@REVISION`.
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

    /// The source with its path on this machine: where there is none like it, and it may be a Hub id, its snapshot in the
    /// cache, whose files of rows are fetched if they are not there.
    ///
    /// # Errors
    /// When the data set cannot be had.
    #[cfg(feature = "hub")]
    pub fn resolve_from(&self, hub: &crate::Hub) -> Result<Self> {
        use crate::folder::{choose, walk};
        let Some(id) = self.path.to_str().filter(|_| !self.path.exists()) else { return Ok(self.clone()) };
        // A file that is not there is one that is missing, and no data set.
        if self
            .path
            .extension()
            .is_some_and(|end| ["parquet", "jsonl", "json", "yaml", "yml"].iter().any(|known| end == *known))
        {
            return Ok(self.clone());
        }
        let chosen = |names: Vec<String>| -> Result<Vec<String>, String> {
            Ok(choose(&names, self.files.as_deref())?.into_iter().map(str::to_owned).collect())
        };
        let lacks = |snapshot: &Path| {
            let mut names = vec![];
            match walk(snapshot, "", &mut names).map_err(|e| e.to_string()).and_then(|()| chosen(names)) {
                Ok(_) => vec![],
                Err(reason) => vec![format!("its rows: {reason}")],
            }
        };
        let wanted = |files: &std::collections::BTreeSet<String>| chosen(files.iter().cloned().collect());
        let snapshot = hub.snapshot(crate::Repository::Dataset, id, wanted, lacks)?;
        Ok(Self { path: snapshot.unwrap_or_else(|| self.path.clone()), ..self.clone() })
    }

    /// The files that hold the rows, in their order.
    ///
    /// # Errors
    /// When none do, or it cannot be said which.
    pub fn rows_files(&self) -> Result<Vec<PathBuf>> {
        let found = self.resolved()?;
        Ok(crate::folder::find(&found.path, found.files.as_deref())?.into_iter().map(|found| found.path).collect())
    }

    /// The name of the file, without its ending, or of the folder.
    pub(crate) fn name(&self) -> String {
        let name = if self.path.is_file() { self.path.file_stem() } else { self.path.file_name() };
        name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// What paths of media are relative to.
    pub(crate) fn folder(&self) -> PathBuf {
        let path = &self.path;
        let own = || if path.is_dir() { path.to_owned() } else { path.parent().unwrap_or(Path::new(".")).to_owned() };
        self.images.clone().unwrap_or_else(own)
    }

    /// As the environment has the Hub.
    pub(crate) fn resolved(&self) -> Result<Self> {
        #[cfg(feature = "hub")]
        return self.resolve_from(&crate::Hub::from_env());
        #[cfg(not(feature = "hub"))]
        Ok(self.clone())
    }
}
