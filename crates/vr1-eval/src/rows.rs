//! The rows of a benchmark's files: JSON lines, a JSON list or object of rows, and tab-separated values.

use std::path::{Path, PathBuf};

use serde_json::Value;
use vr1_data::{Fields, Media, Picture, Video};

use crate::row::{Fault, Row, brief, text_of};
use crate::{Error, Result};

/// Which columns of a benchmark hold what. Of several names the first that a row has counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    /// Names the row.
    pub(crate) id: &'static [&'static str],
    /// What is asked.
    pub(crate) question: &'static [&'static str],
    /// What is right.
    pub(crate) answer: &'static [&'static str],
    /// Each a picture or a list of them, in the first of its columns that a row has.
    pub(crate) images: &'static [&'static [&'static str]],
    /// A video's path.
    pub(crate) video: Option<&'static str>,
    /// A folder beside the file that paths are relative to, where it is there.
    pub(crate) folder: &'static str,
}

/// Reads the files of a benchmark at `path`: the file itself, or of a folder those of `names` that are there.
pub(crate) fn read(path: &Path, names: &[&str], columns: &Columns, images: Option<&Path>) -> Result<Vec<Row>> {
    let files = files(path, names)?;
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for file in files {
        for (at, id, fields) in objects(&file)? {
            match row(&file, at.clone(), id, fields, columns, images) {
                Ok(row) => rows.push(row),
                Err(fault) => faults.push(format!("{at}: {fault}")),
            }
        }
    }
    Error::rows(faults)?;
    if rows.is_empty() {
        return Err(Error::Rows { faults: vec![format!("{}: no rows", path.display())] });
    }
    Ok(rows)
}

fn files(path: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let present: Vec<PathBuf> = names.iter().map(|name| path.join(name)).filter(|file| file.is_file()).collect();
    if present.is_empty() {
        return Err(Error::Rows {
            faults: vec![format!("{}: none of its files is there: {}", path.display(), names.join(", "))],
        });
    }
    Ok(present)
}

type Object = (String, Option<String>, Fields);

fn objects(file: &Path) -> Result<Vec<Object>> {
    let text = std::fs::read_to_string(file).map_err(|source| Error::Io { path: file.to_owned(), source })?;
    let named = |at: usize| format!("{}:{at}", file.display());
    let ending = file.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut faults = Vec::new();
    let objects: Vec<Object> = match (ending.as_str(), text.trim_start().chars().next()) {
        ("tsv", _) => tsv(&text)
            .map_err(|fault| Error::Rows { faults: vec![format!("{}{fault}", file.display())] })?
            .into_iter()
            .map(|(line, fields)| (named(line), None, fields))
            .collect(),
        ("json", Some('[' | '{')) => {
            let whole: Value = serde_json::from_str(&text)
                .map_err(|e| Error::Rows { faults: vec![format!("{}: not JSON: {e}", file.display())] })?;
            let entries: Vec<(Option<String>, Value)> = match whole {
                Value::Array(rows) => rows.into_iter().map(|row| (None, row)).collect(),
                Value::Object(rows) => rows.into_iter().map(|(key, row)| (Some(key), row)).collect(),
                _ => Vec::new(),
            };
            let mut objects = Vec::new();
            for (number, (key, row)) in entries.into_iter().enumerate() {
                let at = key.as_ref().map_or_else(
                    || format!("{}: row {}", file.display(), number + 1),
                    |key| format!("{}: row {key:?}", file.display()),
                );
                match row {
                    Value::Object(fields) => objects.push((at, key, fields)),
                    other => faults.push(format!("{at}: {} is no object", brief(&other))),
                }
            }
            objects
        }
        _ => {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let mut objects = Vec::new();
            for (at, line) in lines {
                match serde_json::from_str::<Fields>(line) {
                    Ok(fields) => objects.push((named(at + 1), None, fields)),
                    Err(error) => faults.push(format!("{}: not a JSON object: {error}", named(at + 1))),
                }
            }
            objects
        }
    };
    Error::rows(faults)?;
    Ok(objects)
}

/// Rows of tab-separated values under a header, as VLMEvalKit writes them: a field in double quotes may hold tabs, line
/// ends and doubled quotes.
fn tsv(text: &str) -> Result<Vec<(usize, Fields)>, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut records, mut record, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let (mut line, mut began) = (1_usize, 1_usize);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            '\t' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push((began, std::mem::take(&mut record)));
                began = line + 1;
            }
            c => field.push(c),
        }
        line += usize::from(c == '\n');
    }
    if quoted {
        return Err(format!(":{began}: a quote that is not closed"));
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push((began, record));
    }
    let mut records = records.into_iter().filter(|(_, record)| record.iter().any(|field| !field.is_empty()));
    let Some((_, header)) = records.next() else { return Err(": no header".to_owned()) };
    let row = |(line, record): (usize, Vec<String>)| {
        if record.len() != header.len() {
            return Err(format!(":{line}: {} fields under a header of {}", record.len(), header.len()));
        }
        Ok((line, header.iter().cloned().zip(record.into_iter().map(Value::String)).collect()))
    };
    records.map(row).collect()
}

fn row(
    file: &Path,
    at: String,
    id: Option<String>,
    fields: Fields,
    columns: &Columns,
    images: Option<&Path>,
) -> Result<Row, Fault> {
    let first = |names: &[&'static str]| {
        names.iter().find(|name| fields.get(**name).is_some_and(|value| !value.is_null())).copied()
    };
    let text = |names: &[&'static str]| -> Result<String, Fault> {
        let Some(name) = first(names) else {
            let known: Vec<&str> = fields.keys().take(16).map(String::as_str).collect();
            return Err(format!("{}: missing; the row has the columns {}", names.join(" or "), known.join(", ")));
        };
        let value = &fields[name];
        match value {
            Value::Array(_) => Ok(value.to_string()),
            value => text_of(value).ok_or_else(|| format!("{name}: {} is no text", brief(value))),
        }
    };
    let number = at.rsplit([':', ' ']).next().unwrap_or_default().to_owned();
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let id =
        first(columns.id).and_then(|name| text_of(&fields[name])).or(id).unwrap_or_else(|| format!("{stem}:{number}"));
    let question = text(columns.question)?;
    let solution = if columns.answer.is_empty() { String::new() } else { text(columns.answer)? };
    let beside = file.parent().unwrap_or(Path::new("."));
    let own =
        || Some(beside.join(columns.folder)).filter(|folder| folder.is_dir()).unwrap_or_else(|| beside.to_owned());
    let folder = images.map_or_else(own, Path::to_owned);
    let mut media = Vec::new();
    for name in columns.images.iter().filter_map(|names| first(names)) {
        let values: Vec<&Value> = match fields.get(name) {
            None => continue,
            Some(Value::Array(list)) => list.iter().collect(),
            Some(one) => vec![one],
        };
        for value in values {
            media.push(Media::Image(picture(value, &folder).map_err(|fault| format!("{name}: {fault}"))?));
        }
    }
    if let Some(name) = columns.video {
        let path = folder.join(text(&[name])?);
        media.push(Media::Video(Video::open(&path).map_err(|fault| format!("{name}: {fault}"))?));
    }
    Ok(Row { id, at, file: stem, question, solution, media, fields })
}

fn picture(value: &Value, folder: &Path) -> Result<Picture, Fault> {
    let Value::String(text) = value else { return Err(format!("{} is no picture", brief(value))) };
    let path = folder.join(text);
    if path.is_file() { Ok(Picture::File(path)) } else { Err(format!("no file {}", path.display())) }
}
