//! Rewards in groups: sizes, checks, moments.

use crate::{Error, Result};

/// The sizes of groups that are all of one size.
pub(crate) fn equal_sizes(rewards: usize, group_size: usize) -> Result<Vec<usize>> {
    if group_size == 0 || !rewards.is_multiple_of(group_size) {
        return Err(Error::GroupSize { rewards, group_size });
    }
    Ok(vec![group_size; rewards / group_size])
}

/// No group is empty, and together they are all completions.
pub(crate) fn check_sizes(rewards: usize, sizes: &[usize]) -> Result<()> {
    if let Some(group) = sizes.iter().position(|&size| size == 0) {
        return Err(Error::EmptyGroup { group });
    }
    let total = sizes.iter().fold(0usize, |total, &size| total.saturating_add(size));
    if total == rewards { Ok(()) } else { Err(Error::GroupSizes { rewards, groups: sizes.len(), total }) }
}

/// The groups' parts of values of which every completion has `each`; sizes have been checked.
pub(crate) fn split<'a, T>(values: &'a [T], sizes: &'a [usize], each: usize) -> impl Iterator<Item = &'a [T]> {
    let mut rest = values;
    sizes.iter().map(move |&size| {
        let (group, after) = rest.split_at(size * each);
        rest = after;
        group
    })
}

pub(crate) fn check_rewards(rewards: &[f32]) -> Result<()> {
    match rewards.iter().position(|reward| reward.is_infinite()) {
        Some(index) => Err(Error::InfiniteReward { index, value: rewards[index] }),
        None => Ok(()),
    }
}

/// Values that were computed in f64, as f32; an error where one of them has no room there.
pub(crate) fn narrowed(name: &'static str, values: impl Iterator<Item = f64>, rewards: &[f32]) -> Result<Vec<f32>> {
    let values: Vec<f32> = values.map(|value| value as f32).collect();
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::TooLarge { name, index, reward: rewards[index] }),
        None => Ok(values),
    }
}

/// All values that are not NaN are equal.
pub(crate) fn is_flat<T: Copy + Into<f64>>(values: &[T]) -> bool {
    let mut valid = values.iter().map(|&value| value.into()).filter(|value| !value.is_nan());
    valid.next().is_none_or(|first| valid.all(|value| value == first))
}

/// Mean and deviation (ddof = 1) of the values that are not NaN, in f64.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    pub(crate) count: f64,
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
    /// All values are equal, by the predicate of [`teaches_nothing`].
    pub(crate) flat: bool,
}

impl Moments {
    pub(crate) fn of<T: Copy + Into<f64>>(values: &[T]) -> Self {
        let valid = || values.iter().map(|&value| value.into()).filter(|value| !value.is_nan());
        let count = valid().count() as f64;
        let mean = if count > 0.0 { valid().sum::<f64>() / count } else { 0.0 };
        let squares: f64 = valid().map(|value| (value - mean).powi(2)).sum();
        let deviation = if count > 1.0 { (squares / (count - 1.0)).sqrt() } else { 0.0 };
        Self { count, mean, deviation, flat: is_flat(values) }
    }
}
