//! The rows of a parquet file: its footer is held, a row is read from the pages that it stands in.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::PageIndexPolicy;
use serde_json::Value;

use crate::arrow_value::{is_binary, is_readable, value};
use crate::faults::{cut, fault};
use crate::rows::Row;
use crate::survey::Survey;
use crate::{Columns, Error, Fields, Result};

/// The keys under which a row's pictures and videos stand.
const MEDIA: [&str; 5] = ["images", "image", "image_path", "video", "videos"];

/// Rows that are decoded at once when a file is gone through: few, for each may hold pictures.
const TOGETHER: usize = 16;

/// What stands in the place of what is left in the file.
const UNREAD: &str = "(not read)";

/// The footer of a file, and where its row groups begin.
#[derive(Debug, Clone)]
pub(crate) struct ParquetRows {
    path: PathBuf,
    name: String,
    metadata: ArrowReaderMetadata,
    /// How many rows are in the row groups before each.
    starts: Vec<usize>,
    rows: usize,
    /// Columns of bytes that are not media, and of types that JSON has not: they are left in the file.
    unread: Vec<String>,
}

impl ParquetRows {
    /// Reads the footer, and of the rows what the survey wants to look into.
    ///
    /// # Errors
    /// When the file is no parquet file or a damaged one, or a column of media holds something else.
    pub(crate) fn open(path: &Path, name: String, survey: &mut Survey<'_>) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
        let unreadable = |reason: &str| Error::Rows { faults: vec![format!("{}: {reason}", path.display())] };
        if let Some(reason) = damaged(&mut file).map_err(|e| Error::io(path, e))? {
            return Err(unreadable(&reason));
        }
        // The file's own types are read, and not those that Arrow noted beside them: no dictionaries, no large lists.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let options = options.with_offset_index_policy(PageIndexPolicy::Optional);
        let metadata = guarded(|| ArrowReaderMetadata::load(&file, options));
        let metadata = metadata.map_err(|reason| unreadable(&format!("not a readable parquet file: {reason}")))?;
        let many = || unreadable("more than 4,294,967,295 rows");
        let (mut starts, mut rows) = (vec![], 0u32);
        for group in metadata.metadata().row_groups() {
            starts.push(rows as usize);
            if group.num_rows() < 0 || group.columns().iter().any(|column| column.num_values() < group.num_rows()) {
                return Err(unreadable(&format!("damaged: row group {} has fewer values than rows", starts.len() - 1)));
            }
            rows = u32::try_from(group.num_rows())
                .ok()
                .and_then(|count| u32::checked_add(count, rows))
                .ok_or_else(many)?;
        }
        let schema = metadata.schema();
        let mut unread = vec![];
        for field in schema.fields() {
            let media = MEDIA.contains(&survey.columns().ours(field.name()));
            if media && let Some(what) = no_media(field.data_type()) {
                return Err(unreadable(&format!("column {:?}: {what}", field.name())));
            }
            let left = holds_bytes(field) && !media || !is_readable(field.data_type());
            unread.extend(left.then(|| field.name().clone()));
        }
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let has = columns.iter().take(24).copied().collect::<Vec<_>>().join(", ");
        if let Some((ours, theirs)) = survey.columns().lacking(&columns) {
            return Err(unreadable(&format!("columns.{ours}: there is no column {theirs:?}; there are {has}")));
        }
        if let Some(column) = survey.chosen_by().find(|column| !columns.contains(column)) {
            let column = cut(column, 60);
            return Err(unreadable(&format!("filters, split: there is no column {column:?}; there are {has}")));
        }
        let table = Self { path: path.to_owned(), name, metadata, starts, rows: rows as usize, unread };
        table.survey(survey)?;
        Ok(table)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Reads the row at `index`, one of [`len`](Self::len), and makes of it what `parse` says.
    ///
    /// # Errors
    /// When the file cannot be read any more, or `parse` refuses the row.
    pub(crate) fn read<T>(&self, index: usize, parse: impl FnOnce(Row) -> Result<T, String>) -> Result<T> {
        let group = self.group(index);
        let mut found = None;
        self.scan(group, index - self.starts[group], 1, None, &mut |_, row| {
            found = Some(row);
            Ok(())
        })?;
        let row = found.ok_or_else(|| "the row group ends before it".to_owned()).and_then(|row| row);
        row.and_then(parse).map_err(|reason| Error::Rows { faults: vec![self.fault(index, &reason)] })
    }

    /// Goes through all rows in order, until it is told to stop. Where a row group cannot be read on, its next row says so, and the others are passed over.
    pub(crate) fn visit(
        &self,
        to: &mut dyn FnMut(usize, String, Result<Row, String>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for (group, &start) in self.starts.iter().enumerate() {
            let count = self.metadata.metadata().row_group(group).num_rows() as usize;
            let (mut next, mut flow) = (start, ControlFlow::Continue(()));
            let scanned = self.scan(group, 0, count, None, &mut |index, row| {
                next = index + 1;
                flow = to(index, self.place(index), row);
                if flow.is_break() { Err(()) } else { Ok(()) }
            });
            flow?;
            if let Err(error) = scanned {
                let reason = error.to_string();
                let said = reason.strip_prefix(&self.fault(next, "")).unwrap_or(&reason);
                to(next, self.place(next), Err(format!("{said}; the rest of the row group is passed over")))?;
            }
        }
        ControlFlow::Continue(())
    }

    /// File and row, as errors tell them.
    fn place(&self, index: usize) -> String {
        self.fault(index, "").trim_end_matches([':', ' ']).to_owned()
    }

    /// Shows every row to the survey; what it chooses by is read of all of them, the whole rows while it checks.
    fn survey(&self, survey: &mut Survey<'_>) -> Result<()> {
        let chosen_by: Vec<String> = survey.chosen_by().map(str::to_owned).collect();
        for (group, &start) in self.starts.iter().enumerate() {
            let rows = self.metadata.metadata().row_group(group);
            let (count, bytes) = (rows.num_rows() as usize, rows.total_byte_size().max(0) as u64);
            let (mut kept, mut faults) = (vec![], vec![]);
            if chosen_by.is_empty() {
                for index in start..start + count {
                    let kept_one = survey.unread(&self.name, index);
                    kept.push(kept_one.map_err(|reason| Error::Rows { faults: vec![self.fault(index, &reason)] })?);
                }
            } else {
                self.scan(group, 0, count, Some(&chosen_by), &mut |index, row| {
                    let chosen = match row {
                        Ok(row) => survey.choose(&self.name, index, &row),
                        Err(reason) => survey.unreadable().and_then(|kept| if kept { Ok(true) } else { Err(reason) }),
                    };
                    kept.push(chosen.unwrap_or_else(|reason| {
                        faults.push((index, reason));
                        false
                    }));
                    Ok(())
                })?;
            }
            if survey.checks() && kept.contains(&true) {
                let size = bytes / count.max(1) as u64;
                self.scan(group, 0, count, None, &mut |index, row| {
                    if !survey.checks() {
                        return Err(()); // enough
                    }
                    if kept.get(index - start).is_some_and(|&kept| kept)
                        && let Err(reason) = row.and_then(|row| survey.check(row, size.max(1)))
                    {
                        faults.push((index, reason));
                    }
                    Ok(())
                })?;
            }
            for (index, reason) in faults {
                survey.faults.note(&self.path, index + 1, &self.grouped(index, &reason));
            }
        }
        Ok(())
    }

    /// Reads `count` rows of a row group, from the row at `from` of it on, and hands each over with its number in the file
    /// until it is told to stop.
    fn scan(
        &self,
        group: usize,
        from: usize,
        count: usize,
        columns: Option<&[String]>,
        to: &mut dyn FnMut(usize, Result<Row, String>) -> Result<(), ()>,
    ) -> Result<()> {
        let first = self.starts[group] + from;
        let broken = |index: usize, reason: String| {
            let reason = format!("damaged: {reason}");
            Error::Rows { faults: vec![self.fault(index, &reason)] }
        };
        let file = File::open(&self.path).map_err(|e| Error::io(&self.path, e))?;
        let schema = self.metadata.schema();
        let wanted = |name: &String| match columns {
            Some(columns) => columns.contains(name),
            None => !self.unread.contains(name),
        };
        let roots = (0..schema.fields().len()).filter(|&i| wanted(schema.field(i).name()));
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), roots);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let builder = builder.with_row_groups(vec![group]).with_projection(mask).with_offset(from).with_limit(count);
        let together = if columns.is_some() { 1024 } else { TOGETHER };
        let builder = builder.with_batch_size(count.min(together));
        let mut batches = guarded(|| builder.build()).map_err(|reason| broken(first, reason))?;
        let mut index = first;
        while let Some(batch) = guarded(|| batches.next().transpose()).map_err(|reason| broken(index, reason))? {
            for row in 0..batch.num_rows() {
                let read = guarded(|| Ok::<_, String>(self.row(&batch, row, index, columns.is_none())));
                if to(index, read.and_then(|row| row)).is_err() {
                    return Ok(());
                }
                index += 1;
            }
        }
        Ok(())
    }

    fn row(&self, batch: &RecordBatch, row: usize, index: usize, whole: bool) -> Result<Row, String> {
        let mut fields = Fields::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let read = value(column, row).map_err(|reason| format!("{}: {reason}", field.name()))?;
            fields.insert(field.name().clone(), read);
        }
        if whole {
            self.unread.iter().for_each(|name| drop(fields.insert(name.clone(), UNREAD.into())));
        }
        let id = match fields.get("id") {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => format!("{}:{}", self.name, index + 1),
        };
        Ok(Row { id, at: self.place(index), fields })
    }

    fn group(&self, index: usize) -> usize {
        self.starts.partition_point(|&start| start <= index).saturating_sub(1)
    }

    /// What is wrong with a row, with its row group and its place there.
    fn grouped(&self, index: usize, reason: &str) -> String {
        let group = self.group(index);
        format!("row {} of row group {group}: {reason}", index - self.starts[group] + 1)
    }

    fn fault(&self, index: usize, reason: &str) -> String {
        fault(&self.path, index + 1, &self.grouped(index, reason))
    }
}

/// What a file is that does not begin and end as a parquet file does.
fn damaged(file: &mut File) -> std::io::Result<Option<String>> {
    let size = file.metadata()?.len();
    if size < 12 {
        return Ok(Some(format!("{size} bytes, not a parquet file")));
    }
    let (mut start, mut end) = ([0; 4], [0; 4]);
    file.read_exact(&mut start)?;
    file.seek(SeekFrom::End(-4))?;
    file.read_exact(&mut end)?;
    Ok(match (&start, &end) {
        (b"PAR1", b"PAR1") => None,
        (b"PAR1", b"PARE") | (b"PARE", _) => Some("an encrypted parquet file, which is not read".to_owned()),
        (b"PAR1", _) => Some("a parquet file cut short: its end is missing".to_owned()),
        (b"vers", _) => Some("not a parquet file, but the pointer to one that git-lfs left; fetch it".to_owned()),
        _ => Some("not a parquet file".to_owned()),
    })
}

/// What a decoder says, or that it gave up over what it was given.
fn guarded<T, E: std::fmt::Display>(decode: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(decoded) => decoded.map_err(|e| e.to_string()),
        Err(_) => Err("the decoder gave up".to_owned()),
    }
}

/// Whether a column is one of bytes, as pictures and sounds are stored.
fn holds_bytes(field: &Field) -> bool {
    match field.data_type() {
        DataType::List(item) | DataType::FixedSizeList(item, _) => is_binary(item.data_type()) || holds_bytes(item),
        DataType::Struct(fields) => fields.iter().any(|field| field.name() == "bytes" && is_binary(field.data_type())),
        _ => false,
    }
}

/// What a column of media holds that can be none.
fn no_media(kind: &DataType) -> Option<String> {
    match kind {
        DataType::Null | DataType::Utf8 => None,
        kind if is_binary(kind) => None,
        DataType::List(item) | DataType::FixedSizeList(item, _) => no_media(item.data_type()),
        DataType::Struct(fields) if fields.iter().any(|field| ["bytes", "path"].contains(&field.name().as_str())) => {
            None
        }
        other => {
            let have = "should be text, bytes, {bytes, path}, or a list of such";
            Some(format!("{}, {have}", cut(&other.to_string(), 80)))
        }
    }
}

impl Columns {
    /// The first column of a file that is renamed and not there.
    fn lacking<'a>(&'a self, columns: &[&str]) -> Option<(&'a str, &'a str)> {
        use crate::Column::{One, Several};
        self.0.iter().find_map(|(ours, theirs)| {
            let gone = |theirs: &&String| !columns.contains(&theirs.as_str());
            let theirs = match theirs {
                One(theirs) => Some(theirs).filter(gone),
                Several(theirs) => theirs.iter().find(gone),
            };
            Some((ours.as_str(), theirs?.as_str()))
        })
    }
}
