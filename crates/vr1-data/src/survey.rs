//! What is done with the rows as their files are opened: which are kept, and what is wrong with them.

use serde_json::Value;

use crate::faults::{Faults, cut, keys};
use crate::filter::Sieve;
use crate::rows::Row;
use crate::{Columns, Error, Portion, Result, RowSource, Take};

/// How many bytes of rows are read and checked when they are opened; those behind are checked when they are asked for.
pub(crate) const CHECKED_BYTES: u64 = 256 << 20;

/// Gone through once, file by file.
pub(crate) struct Survey<'a> {
    choice: Choice,
    columns: &'a Columns,
    check: &'a mut dyn FnMut(Row) -> Result<(), String>,
    /// Bytes that may still be read to be checked.
    budget: u64,
    /// Whether a row that cannot be read is kept, for whoever asks for it to be told.
    keeps_unreadable: bool,
    /// Which of all rows are kept.
    kept: Vec<u32>,
    /// How many were kept before this file.
    before: usize,
    seen: usize,
    pub(crate) faults: Faults,
}

/// Which rows are kept.
struct Choice {
    filters: Vec<Sieve>,
    split: Option<Portion>,
    /// Columns that a filter or a split looks at, and whether any row has had them.
    columns: Vec<(String, bool)>,
    /// The keys of some row.
    some_keys: Option<String>,
}

impl<'a> Survey<'a> {
    pub(crate) fn new(source: &'a RowSource, check: &'a mut dyn FnMut(Row) -> Result<(), String>) -> Result<Self> {
        let sieves = source.filters.iter().enumerate().map(|(i, filter)| Sieve::new(i, filter));
        let filters: Vec<Sieve> = sieves.collect::<Result<_>>()?;
        let split = source.split.clone();
        split.iter().try_for_each(Portion::check)?;
        let by = split.iter().filter_map(|split| split.by.clone());
        let mut columns: Vec<_> = filters.iter().map(|sieve| sieve.column().to_owned()).chain(by).collect();
        columns.sort();
        columns.dedup();
        let columns = columns.into_iter().map(|column| (column, false)).collect();
        let choice = Choice { filters, split, columns, some_keys: None };
        let (columns, faults) = (&source.columns, Faults::default());
        let (budget, kept) = (CHECKED_BYTES, vec![]);
        Ok(Self { choice, columns, check, budget, keeps_unreadable: false, kept, before: 0, seen: 0, faults })
    }

    /// The same, which checks nothing and keeps rows that cannot be read.
    pub(crate) fn choosing(self) -> Self {
        Self { budget: 0, keeps_unreadable: true, ..self }
    }

    /// Whether the next row is to be read.
    pub(crate) fn reads(&self) -> bool {
        self.chooses() || self.checks()
    }

    /// Whether rows are chosen by what stands in them.
    pub(crate) fn chooses(&self) -> bool {
        !self.choice.columns.is_empty()
    }

    /// Whether rows are still checked.
    pub(crate) fn checks(&self) -> bool {
        self.budget > 0
    }

    /// The columns that rows are chosen by.
    #[cfg(feature = "parquet")]
    pub(crate) fn chosen_by(&self) -> impl Iterator<Item = &str> {
        self.choice.columns.iter().map(|(column, _)| column.as_str())
    }

    #[cfg(feature = "parquet")]
    pub(crate) fn columns(&self) -> &Columns {
        self.columns
    }

    /// A row of `size` bytes that was read, number `index` of its file.
    pub(crate) fn row(&mut self, file: &str, index: usize, row: Result<Row, String>, size: u64) -> Result<(), String> {
        let row = match row {
            Ok(row) => row,
            Err(reason) => return self.unreadable().and_then(|kept| if kept { Ok(()) } else { Err(reason) }),
        };
        if self.choose(file, index, &row)? && self.checks() {
            return self.check(row, size);
        }
        Ok(())
    }

    /// Whether a row is kept, whose columns that count are read.
    pub(crate) fn choose(&mut self, file: &str, index: usize, row: &Row) -> Result<bool, String> {
        let number = self.number()?;
        let keeps = self.choice.keeps(file, index, row);
        self.kept.extend(keeps.then_some(number));
        Ok(keeps)
    }

    /// Whether a row is kept that cannot be read.
    pub(crate) fn unreadable(&mut self) -> Result<bool, String> {
        let number = self.number()?;
        self.kept.extend(self.keeps_unreadable.then_some(number));
        Ok(self.keeps_unreadable)
    }

    /// What is wrong with a row of `size` bytes that is kept.
    pub(crate) fn check(&mut self, row: Row, size: u64) -> Result<(), String> {
        self.budget = self.budget.saturating_sub(size);
        (self.check)(row.renamed(self.columns)?)
    }

    /// A row that nobody needs to look into.
    pub(crate) fn unread(&mut self, file: &str, index: usize) -> Result<bool, String> {
        let number = self.number()?;
        let keeps = self.choice.split.as_ref().is_none_or(|split| split.holds(&place(file, index)));
        self.kept.extend(keeps.then_some(number));
        Ok(keeps)
    }

    fn number(&mut self) -> Result<u32, String> {
        self.seen += 1;
        u32::try_from(self.seen - 1).map_err(|_| "more than 4,294,967,296 rows in one set".to_owned())
    }

    /// Leaves of the file that was gone through last what is taken of it.
    pub(crate) fn take(&mut self, take: Take) {
        let mut last = self.kept.split_off(self.before);
        take.of(&mut last);
        self.kept.append(&mut last);
        self.before = self.kept.len();
    }

    /// What is wrong with files as wholes, where that does not stop whoever goes through their rows.
    pub(crate) fn noted(&mut self) -> Vec<String> {
        if self.keeps_unreadable { std::mem::take(&mut self.faults).into_listed() } else { vec![] }
    }

    /// The rows that are kept, by number.
    pub(crate) fn into_kept(mut self, source: &RowSource) -> Result<Vec<u32>> {
        std::mem::take(&mut self.faults).into_result()?;
        let path = source.path.display();
        if self.seen == 0 {
            return Err(Error::Rows { faults: vec![format!("{path}: no rows")] });
        }
        if let Some((column, _)) = self.choice.columns.iter().find(|(_, had)| !had) {
            let (column, has) = (cut(column, 60), self.choice.some_keys.unwrap_or_default());
            let reason = format!("filters, split: no row has the column {column:?}; the keys are {has}");
            return Err(Error::Rows { faults: vec![format!("{path}: {reason}")] });
        }
        let mut kept = self.kept;
        source.take.of(&mut kept);
        if kept.is_empty() {
            let reason = format!("no rows: filters, split and take leave none of {}", self.seen);
            return Err(Error::Rows { faults: vec![format!("{path}: {reason}")] });
        }
        kept.shrink_to_fit();
        Ok(kept)
    }
}

impl Choice {
    fn keeps(&mut self, file: &str, index: usize, row: &Row) -> bool {
        for (column, had) in &mut self.columns {
            *had |= row.fields.contains_key(column);
        }
        if !self.columns.is_empty() && self.some_keys.is_none() {
            self.some_keys = Some(keys(&row.fields));
        }
        let value = |column: &str| row.fields.get(column).unwrap_or(&Value::Null);
        self.filters.iter().all(|sieve| sieve.keeps(value(sieve.column())))
            && self.split.as_ref().is_none_or(|split| match &split.by {
                Some(column) => split.holds_value(value(column)),
                None => split.holds(&place(file, index)),
            })
    }
}

/// What a row is divided by that is by itself.
fn place(file: &str, index: usize) -> String {
    format!("{file}:{index}")
}
