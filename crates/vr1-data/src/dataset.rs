use crate::{Error, Result, Sample};

/// Samples by index. Reading one is independent of every other, so a run can start anywhere and read in parallel.
pub trait Dataset: Send + Sync {
    /// Names the dataset in messages and reports.
    fn name(&self) -> &str;

    /// The number of samples.
    fn len(&self) -> usize;

    /// The sample at `index`, the same each time.
    ///
    /// # Errors
    /// When `index` is not below [`len`](Self::len), or the sample cannot be made from what the dataset holds.
    fn get(&self, index: usize) -> Result<Sample>;

    /// Whether there is no sample at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Refuses an index that `dataset` does not have.
pub(crate) fn check_index(dataset: &dyn Dataset, index: usize) -> Result<()> {
    if index < dataset.len() {
        return Ok(());
    }
    Err(Error::Index { dataset: dataset.name().to_owned(), index, len: dataset.len() })
}
