use crate::benchmark::Benchmark;
use crate::item::Item;
use crate::row::ToItem;
use crate::rows::Rows;
use crate::{Error, Result};

/// The questions of a benchmark: all that is known of them, and their pictures when they are asked for.
#[derive(Debug)]
pub struct Questions {
    benchmark: Benchmark,
    /// Without the pictures that rows hold inside.
    items: Vec<Item>,
    rows: Option<(Rows, ToItem)>,
}

impl Questions {
    /// Questions that are made already.
    pub(crate) fn of(benchmark: Benchmark, items: Vec<Item>) -> Result<Self> {
        let items = items.into_iter().map(Item::light).collect::<Result<_>>()?;
        Ok(Self { benchmark, items, rows: None })
    }

    /// Goes through all rows once; those that are not as they are published are named together.
    pub(crate) fn read(benchmark: Benchmark, rows: Rows, item: ToItem) -> Result<Self> {
        let (mut items, mut faults) = (Vec::with_capacity(rows.len()), Vec::new());
        for index in 0..rows.len() {
            match one(&rows, item, index).and_then(Item::light) {
                Ok(item) => items.push(item),
                Err(Error::Rows { faults: more }) => faults.extend(more),
                Err(Error::Data(vr1_data::Error::Rows { faults: more })) => faults.extend(more),
                Err(other) => return Err(other),
            }
        }
        Error::rows(faults)?;
        Ok(Self { benchmark, items, rows: Some((rows, item)) })
    }

    /// The benchmark they are of.
    #[must_use]
    pub fn benchmark(&self) -> Benchmark {
        self.benchmark
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All of them, without the pictures that their rows hold inside.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The question at `index` with its pictures.
    ///
    /// # Errors
    /// If its file is no longer what it was.
    ///
    /// # Panics
    /// If there is none.
    pub fn get(&self, index: usize) -> Result<Item> {
        match &self.rows {
            Some((rows, item)) => one(rows, *item, index),
            None => Ok(self.items[index].clone()),
        }
    }
}

fn one(rows: &Rows, item: ToItem, index: usize) -> Result<Item> {
    let row = rows.get(index)?;
    let at = row.at.clone();
    item(row).map_err(|fault| Error::row(format!("{at}: {fault}")))
}
