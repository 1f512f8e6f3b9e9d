//! Two layouts of rows that benchmarks alone have: tab-separated values with pictures in base64, as VLMEvalKit writes them, and a
//! JSON object of rows by their names, as MathVista's.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use vr1_data::{Fields, Media, Picture, Sample};

use crate::row::{Fault, brief, text_of};
use crate::rows::Files;
use crate::{Error, Result};

/// The rows of such a file; nothing where it is none.
pub(crate) fn read(file: &Path, files: &Files, media: &Path) -> Result<Option<Vec<Sample>>> {
    let ending = file.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    if ending != "tsv" && ending != "json" {
        return Ok(None);
    }
    let bytes = std::fs::read(file).map_err(|source| Error::Io { path: file.to_owned(), source })?;
    let begins = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if ending == "json" && begins != Some(&b'{') {
        return Ok(None);
    }
    let whole = |reason: String| Error::row(format!("{}{reason}", file.display()));
    let text = String::from_utf8(bytes)
        .map_err(|e| whole(format!(": not UTF-8 from byte {} on", e.utf8_error().valid_up_to())))?;
    let objects: Vec<(String, Fields)> = if ending == "tsv" {
        let rows = tab_separated(&text).map_err(whole)?;
        rows.into_iter().map(|(line, fields)| (format!(":{line}"), fields)).collect()
    } else {
        let rows: serde_json::Map<String, Value> =
            serde_json::from_str(&text).map_err(|e| whole(format!(": not JSON: {e}")))?;
        let row = |(name, value)| match value {
            Value::Object(fields) => Ok((format!(": row {name:?}"), fields)),
            other => Err(whole(format!(": row {name:?}: {} is no object", brief(&other)))),
        };
        rows.into_iter().map(row).collect::<Result<_>>()?
    };
    let (mut samples, mut faults) = (Vec::new(), Vec::new());
    for (at, fields) in objects {
        match sample(file, &at, fields, files, media) {
            Ok(sample) => samples.push(sample),
            Err(fault) => faults.push(format!("{}{at}: {fault}", file.display())),
        }
    }
    Error::rows(faults)?;
    if samples.is_empty() { Err(whole(": no rows".to_owned())) } else { Ok(Some(samples)) }
}

fn sample(file: &Path, at: &str, mut fields: Fields, files: &Files, media: &Path) -> Result<Sample, Fault> {
    let theirs = |ours: &'static str| {
        files.columns.iter().find(|(name, _)| *name == ours).and_then(|(_, theirs)| theirs.first())
    };
    let mut take = |ours: &'static str| {
        let name = theirs(ours).copied().unwrap_or(ours);
        (name, fields.shift_remove(name).filter(|value| !value.is_null()))
    };
    let mut text = |ours| match take(ours) {
        (name, None) => Err(format!("{name}: missing")),
        (name, Some(value)) => text_of(&value).ok_or_else(|| format!("{name}: {} is no text", brief(&value))),
    };
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let id = text("id").unwrap_or_else(|_| format!("{stem}{at}"));
    let (question, solution) = (text("question")?, text("answer")?);
    let shown = match take("image") {
        (_, None) => Vec::new(),
        (name, Some(value)) => {
            vec![Media::Image(picture(&value, file, media).map_err(|fault| format!("{name}: {fault}"))?)]
        }
    };
    Ok(Sample { id, media: shown, question, solution, fields, ..Sample::default() })
}

/// A path, or a picture's bytes in base64.
fn picture(value: &Value, file: &Path, media: &Path) -> Result<Picture, Fault> {
    let Value::String(text) = value else { return Err(format!("{} is no picture", brief(value))) };
    let path = media.join(text);
    if text.len() < 4096 && path.is_file() {
        return Ok(Picture::File(path));
    }
    match STANDARD.decode(text.trim()) {
        Ok(bytes) if bytes.len() >= SHORTEST => Ok(Picture::Encoded { bytes: Arc::from(bytes), at: Arc::from(file) }),
        Err(error) if text.len() >= 4096 => Err(format!("not base64: {error}")),
        _ => Err(format!("no file {}", path.display())),
    }
}

/// No picture has so few bytes.
const SHORTEST: usize = 33;

/// Rows under a header, each with its line: a field in double quotes may hold tabs, line ends and doubled quotes.
fn tab_separated(text: &str) -> Result<Vec<(usize, Fields)>, Fault> {
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
