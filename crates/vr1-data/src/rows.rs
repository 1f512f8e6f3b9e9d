//! The rows of one file or of several, each read when it is asked for.

use std::ops::ControlFlow;
use std::path::Path;

use crate::folder::{self, Found, Kind};
#[cfg(feature = "parquet")]
use crate::parquet_rows::ParquetRows;
use crate::survey::Survey;
use crate::text_rows::TextRows;
use crate::{Columns, Error, Fields, Result, RowSource};

/// Where rows are; what they say stays in their files.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    name: String,
    files: Vec<Table>,
    /// How many rows are in the files before each.
    starts: Vec<usize>,
    /// Which of all rows there are, where it is not all.
    kept: Option<Vec<u32>>,
    columns: Columns,
    len: usize,
}

/// One row, read.
#[derive(Debug)]
pub(crate) struct Row {
    /// The row's own `id`, or the file's name and the row's line or number.
    pub(crate) id: String,
    /// File and place, for errors.
    pub(crate) at: String,
    pub(crate) fields: Fields,
}

impl Row {
    pub(crate) fn renamed(self, columns: &Columns) -> Result<Self, String> {
        Ok(Self { fields: columns.rename(self.fields)?, ..self })
    }
}

#[derive(Debug, Clone)]
enum Table {
    Text(TextRows),
    #[cfg(feature = "parquet")]
    Parquet(ParquetRows),
}

impl Rows {
    /// Opens the files, goes through what has to be looked at, and hands rows to `check`.
    ///
    /// # Errors
    /// When a file is missing or cannot be read, or there are no rows; rows that are no objects, and what `check` says of
    /// them, are listed together.
    pub(crate) fn open(
        source: &RowSource,
        name: String,
        mut check: impl FnMut(Row) -> Result<(), String>,
    ) -> Result<Self> {
        Ok(Self::gone_through(source, name, Survey::new(source, &mut check)?)?.0)
    }

    /// The same without a check of any row, and with those that cannot be read among them; what is wrong with files as wholes is
    /// noted.
    ///
    /// # Errors
    /// When a file is missing or holds no rows at all.
    pub(crate) fn all(source: &RowSource, name: String) -> Result<(Self, Vec<String>)> {
        let mut check = |_: Row| Ok(());
        let survey = Survey::new(source, &mut check)?.choosing();
        Self::gone_through(source, name, survey)
    }

    fn gone_through(source: &RowSource, name: String, mut survey: Survey<'_>) -> Result<(Self, Vec<String>)> {
        let found = folder::find(&source.path, source.files.as_deref())?;
        let (mut files, mut starts, mut total) = (vec![], vec![], 0);
        for Found { path, kind, take } in found {
            let name = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
            let table = match kind {
                Kind::Text => Table::Text(TextRows::open(&path, name, &mut survey)?),
                #[cfg(feature = "parquet")]
                Kind::Parquet => Table::Parquet(ParquetRows::open(&path, name, &mut survey)?),
                #[cfg(not(feature = "parquet"))]
                Kind::Parquet => {
                    let reason = "a parquet file, which this build does not read (feature `parquet`)";
                    return Err(Error::Rows { faults: vec![format!("{}: {reason}", path.display())] });
                }
            };
            survey.take(take);
            starts.push(total);
            total += table.len();
            files.push(table);
        }
        let noted = survey.noted();
        let kept = survey.into_kept(source)?;
        let len = kept.len();
        let kept = (len < total).then_some(kept);
        Ok((Self { name, files, starts, kept, columns: source.columns.clone(), len }, noted))
    }

    /// Goes through the rows in order, good and bad, each with its file and place, until it is told to stop.
    pub(crate) fn visit(&self, to: &mut dyn FnMut(String, Result<Row, String>) -> ControlFlow<()>) -> ControlFlow<()> {
        for (table, &start) in self.files.iter().zip(&self.starts) {
            let mut each = |index: usize, place: String, row: Result<Row, String>| {
                let number = (start + index) as u32;
                match self.kept.as_ref().is_none_or(|kept| kept.binary_search(&number).is_ok()) {
                    true => to(place, row.and_then(|row| row.renamed(&self.columns))),
                    false => ControlFlow::Continue(()),
                }
            };
            let read = match table {
                Table::Text(rows) => rows.visit(&mut each),
                #[cfg(feature = "parquet")]
                Table::Parquet(rows) => Ok(rows.visit(&mut each)),
            };
            match read {
                Ok(flow) => flow?,
                Err(error) => to(table.path().display().to_string(), Err(error.to_string()))?,
            }
        }
        ControlFlow::Continue(())
    }

    /// The name of the file, without its ending, or of the folder.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Reads the row at `index` and makes of it what `parse` says.
    ///
    /// # Errors
    /// When there is no such row, its file cannot be read any more, or `parse` refuses it.
    pub(crate) fn read<T>(&self, index: usize, parse: impl FnOnce(Row) -> Result<T, String>) -> Result<T> {
        if index >= self.len {
            return Err(Error::Index { dataset: self.name.clone(), index, len: self.len });
        }
        let number = self.kept.as_ref().map_or(index, |kept| kept[index] as usize);
        let file = self.starts.partition_point(|&start| start <= number) - 1;
        let (within, parse) = (number - self.starts[file], |row: Row| parse(row.renamed(&self.columns)?));
        match &self.files[file] {
            Table::Text(rows) => rows.read(within, parse),
            #[cfg(feature = "parquet")]
            Table::Parquet(rows) => rows.read(within, parse),
        }
    }
}

impl Table {
    fn path(&self) -> &Path {
        match self {
            Self::Text(rows) => rows.path(),
            #[cfg(feature = "parquet")]
            Self::Parquet(rows) => rows.path(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(rows) => rows.len(),
            #[cfg(feature = "parquet")]
            Self::Parquet(rows) => rows.len(),
        }
    }
}
