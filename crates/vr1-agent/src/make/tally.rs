use std::collections::BTreeMap;

/// What became of all that was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Questions.
    pub questions: usize,
    /// Calls that a model answered, now or before.
    pub calls: usize,
    /// Those of them that it answered now.
    pub asked_now: usize,
    /// Answers, whole paths where they are given in steps.
    pub answers: usize,
    /// Tokens of all that was answered, as far as they are known.
    pub tokens: usize,
    /// Answers that became no row.
    pub dropped: Dropped,
    /// Rows.
    pub kept: usize,
}

/// How many were dropped for which reason, and of each reason the first that told more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dropped(pub BTreeMap<String, (usize, Option<String>)>);

impl Dropped {
    pub(crate) fn add(&mut self, reason: impl Into<String>, more: Option<String>) {
        let entry = self.0.entry(reason.into()).or_default();
        entry.0 += 1;
        entry.1 = entry.1.take().or(more);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        for (reason, (count, more)) in other.0 {
            let entry = self.0.entry(reason).or_default();
            entry.0 += count;
            entry.1 = entry.1.take().or(more);
        }
    }

    /// How many in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.values().map(|(count, _)| count).sum()
    }
}
