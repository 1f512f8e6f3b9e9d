//! Values that need every rollout of the group.

use std::collections::HashMap;

use super::node::GroupKind;
use crate::Value;

/// One value a rollout, from the inner expression's value on each rollout.
///
/// Missing values stand aside: they are in no mean, and have no rank.
pub(crate) fn aggregate(kind: GroupKind, values: &[Value<'_>]) -> Vec<Value<'static>> {
    let numbers: Vec<f64> = values.iter().filter_map(Value::as_number).collect();
    let n = numbers.len() as f64;
    let each = |of: &dyn Fn(f64) -> f64| -> Vec<Value<'static>> {
        values.iter().map(|value| value.as_number().map_or(Value::Missing, |x| Value::Number(of(x)))).collect()
    };
    let whole = |number: Option<f64>| vec![number.map_or(Value::Missing, Value::Number); values.len()];
    match kind {
        GroupKind::Size => whole(Some(values.len() as f64)),
        GroupKind::Mean => whole(mean(&numbers)),
        GroupKind::Min => whole(numbers.iter().copied().reduce(f64::min)),
        GroupKind::Max => whole(numbers.iter().copied().reduce(f64::max)),
        GroupKind::Std => whole(mean(&numbers).map(|mean| {
            let sum: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
            if n > 1.0 { (sum / (n - 1.0)).sqrt() } else { 0.0 }
        })),
        // The share of the others below, ties counting half: 0 for the least of all, 1 for the greatest.
        GroupKind::Rank => each(&|x| {
            if n <= 1.0 {
                return 0.5;
            }
            let below = numbers.iter().filter(|y| **y < x).count() as f64;
            let level = numbers.iter().filter(|y| **y == x).count() as f64 - 1.0;
            (below + level / 2.0) / (n - 1.0)
        }),
        GroupKind::Diversity => {
            let counts = counts(values);
            let known: usize = counts.values().sum();
            whole((known > 0).then(|| counts.len() as f64 / known as f64))
        }
        GroupKind::Share => {
            let counts = counts(values);
            let size = values.len() as f64;
            let share = |value: &Value<'_>| match value {
                Value::Missing => Value::Missing,
                value => Value::Number(counts[&*value.to_text()] as f64 / size),
            };
            values.iter().map(share).collect()
        }
    }
}

fn mean(numbers: &[f64]) -> Option<f64> {
    (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
}

fn counts(values: &[Value<'_>]) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for value in values.iter().filter(|value| !value.is_missing()) {
        *counts.entry(value.to_text().into_owned()).or_insert(0) += 1;
    }
    counts
}
