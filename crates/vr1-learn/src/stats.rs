use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How the numbers of micro-batches become the step's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Fold {
    /// They add up.
    Sum,
    /// Their mean, weighted by what each stands for.
    Mean(f64),
    /// The least.
    Min,
    /// The greatest.
    Max,
}

/// What a loss measured, by name.
///
/// # Example
/// ```
/// use vr1_learn::{Fold, Stats};
/// let mut step = Stats::default();
/// step.fold(&Stats::new([("kl", 1.0, Fold::Mean(3.0)), ("loss", 0.5, Fold::Sum)]));
/// step.fold(&Stats::new([("kl", 5.0, Fold::Mean(1.0)), ("loss", 0.25, Fold::Sum)]));
/// assert_eq!(step.into_values().into_iter().collect::<Vec<_>>(), [("kl".into(), 2.0), ("loss".into(), 0.75)]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Stats(BTreeMap<Cow<'static, str>, (f64, Fold)>);

impl Stats {
    /// These numbers.
    pub fn new(entries: impl IntoIterator<Item = (&'static str, f64, Fold)>) -> Self {
        Self(entries.into_iter().map(|(name, value, fold)| (Cow::Borrowed(name), (value, fold))).collect())
    }

    /// Takes in the numbers of a further micro-batch. A mean over nothing (NaN, or of weight 0) counts for nothing.
    pub fn fold(&mut self, other: &Self) {
        for (name, &(value, fold)) in &other.0 {
            match self.0.get_mut(&**name) {
                None => drop(self.0.insert(name.clone(), (value, fold))),
                Some((mine, Fold::Mean(weight))) => {
                    let Fold::Mean(more) = fold else { continue };
                    if *weight == 0.0 || mine.is_nan() {
                        (*mine, *weight) = (value, more);
                    } else if more > 0.0 && !value.is_nan() {
                        *mine = (*mine * *weight + value * more) / (*weight + more);
                        *weight += more;
                    }
                }
                Some((mine, Fold::Sum)) => *mine += value,
                Some((mine, Fold::Min)) => *mine = mine.min(value),
                Some((mine, Fold::Max)) => *mine = mine.max(value),
            }
        }
    }

    /// The numbers by name; a mean over nothing is left out.
    pub fn into_values(self) -> BTreeMap<String, f64> {
        let known = self.0.into_iter().filter(|(_, (value, fold))| !matches!(fold, Fold::Mean(_)) || !value.is_nan());
        known.map(|(name, (value, _))| (name.into_owned(), value)).collect()
    }

    /// The numbers as other ranks are told them: bits, for JSON has no NaN.
    pub(crate) fn told(&self) -> ToldStats {
        self.0.iter().map(|(name, (value, fold))| (name.to_string(), value.to_bits(), *fold)).collect()
    }

    /// What another rank told.
    pub(crate) fn of(told: ToldStats) -> Self {
        Self(told.into_iter().map(|(name, bits, fold)| (Cow::Owned(name), (f64::from_bits(bits), fold))).collect())
    }
}

/// Names, the bits of numbers, and how they are folded.
pub(crate) type ToldStats = Vec<(String, u64, Fold)>;
