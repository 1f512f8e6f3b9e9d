//! The rows of a benchmark's files: as `vr1-data` reads them, and in two layouts that benchmarks alone have.

use std::path::{Path, PathBuf};

use vr1_data::{Column, Columns, RowSource, Sample, SampleSet};

use crate::row::{Row, text_of};
use crate::{Error, Result, tables};

/// Files of a benchmark, and what their columns are called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files {
    /// Their names below its folder; `*` stands for anything but `/`.
    pub(crate) names: &'static [&'static str],
    /// Which of their columns is `id`, `question`, `answer`, `image`, `images` or `video`, where it is not called so. Several
    /// columns of pictures become one list.
    pub(crate) columns: &'static [(&'static str, &'static [&'static str])],
    /// The folder, from the file's own, that paths of media are relative to.
    pub(crate) media: &'static str,
}

/// A benchmark's rows, each read when it is asked for.
#[derive(Debug)]
pub(crate) struct Rows {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    files: Files,
    rows: PartRows,
}

#[derive(Debug)]
enum PartRows {
    Set(SampleSet),
    Table(Vec<Sample>),
}

impl Rows {
    /// Opens a file, or of a folder those files that the first of these layouts has there.
    pub(crate) fn open(path: &Path, layouts: &[Files], images: Option<&Path>) -> Result<Self> {
        let mut parts = Vec::new();
        for (file, files) in found(path, layouts)? {
            let beside = file.parent().unwrap_or(Path::new("."));
            let own =
                || Some(beside.join(files.media)).filter(|folder| folder.is_dir()).unwrap_or_else(|| beside.to_owned());
            let media = images.map_or_else(own, Path::to_owned);
            let rows = match tables::read(&file, &files, &media)? {
                Some(rows) => PartRows::Table(rows),
                None => {
                    let columns = columns(&files);
                    let source = RowSource { path: file.clone(), images: Some(media), columns, ..RowSource::default() };
                    PartRows::Set(SampleSet::of(&source)?)
                }
            };
            parts.push(Part { path: file, files, rows });
        }
        Ok(Self { parts })
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    /// The row at `index`.
    pub(crate) fn get(&self, index: usize) -> Result<Row> {
        let mut within = index;
        for part in &self.parts {
            if within < part.len() {
                return part.get(within);
            }
            within -= part.len();
        }
        Err(Error::row(format!("there is no row {index}")))
    }
}

impl Part {
    fn len(&self) -> usize {
        match &self.rows {
            PartRows::Set(set) => set.len(),
            PartRows::Table(rows) => rows.len(),
        }
    }

    fn get(&self, index: usize) -> Result<Row> {
        let mut sample = match &self.rows {
            PartRows::Set(set) => set.get(index)?,
            PartRows::Table(rows) => rows[index].clone(),
        };
        // A column that is called `id` here names the row; the reader knew it under its own name.
        if let Some(id) = sample.fields.get("id").and_then(text_of) {
            sample.id = id;
        }
        let file = self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Row { at: format!("{}: row {}", self.path.display(), index + 1), file, columns: self.files.columns, sample })
    }
}

fn columns(files: &Files) -> Columns {
    let column = |(ours, theirs): &(&str, &[&str])| {
        let theirs: Vec<String> = theirs.iter().map(|name| (*name).to_owned()).collect();
        let several = *ours == "images";
        let theirs = match <[String; 1]>::try_from(theirs) {
            Ok([one]) if !several => Column::One(one),
            Ok(one) => Column::Several(one.into()),
            Err(several) => Column::Several(several),
        };
        ((*ours).to_owned(), theirs)
    };
    Columns(files.columns.iter().map(column).collect())
}

/// The files to read, each with what is known of it.
fn found(path: &Path, layouts: &[Files]) -> Result<Vec<(PathBuf, Files)>> {
    if !path.is_dir() {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let last = |pattern: &str| pattern.rsplit('/').next().unwrap_or_default().to_owned();
        let ending = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let fits = |how: &dyn Fn(&str) -> bool| layouts.iter().find(|files| files.names.iter().any(|name| how(name)));
        let files = fits(&|pattern| matches(&last(pattern), &name))
            .or_else(|| fits(&|pattern| ending(pattern) == ending(&name)))
            .or(layouts.first());
        return Ok(files.map(|files| (path.to_owned(), *files)).into_iter().collect());
    }
    for files in layouts {
        let mut there = Vec::new();
        for name in files.names {
            below(path, name, &mut there)?;
        }
        if !there.is_empty() {
            return Ok(there.into_iter().map(|file| (file, *files)).collect());
        }
    }
    let names: Vec<&str> = layouts.iter().flat_map(|files| files.names).copied().collect();
    Err(Error::row(format!("{}: none of its files is there: {}", path.display(), names.join(", "))))
}

/// The files below a folder whose names are of a pattern, in their order.
fn below(folder: &Path, pattern: &str, into: &mut Vec<PathBuf>) -> Result<()> {
    let (first, rest) = pattern.split_once('/').map_or((pattern, None), |(first, rest)| (first, Some(rest)));
    let io = |source| Error::Io { path: folder.to_owned(), source };
    let mut entries = Vec::new();
    for entry in folder.read_dir().map_err(io)? {
        let path = entry.map_err(io)?.path();
        let fits = path.file_name().is_some_and(|name| matches(first, &name.to_string_lossy()));
        entries.extend(fits.then_some(path));
    }
    entries.sort();
    for path in entries {
        match rest {
            Some(rest) if path.is_dir() => below(&path, rest, into)?,
            None if path.is_file() => into.push(path),
            _ => {}
        }
    }
    Ok(())
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| matches(after, &rest[at..]))
        }),
    }
}
