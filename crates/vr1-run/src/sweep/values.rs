use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SweepError;
use crate::{
    metrics::read_metrics,
    run::{METRICS, SUMMARY},
};

/// A number read from what a run leaves. A sweep writes it as two words, such as `after in_domain/accuracy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Measurement {
    /// `before`: a held-out score before the first step, by its name in `summary.json`.
    Before(String),
    /// `after`: a held-out score after the last step.
    After(String),
    /// `summary`: a number of `summary.json`, by the keys that lead to it, with dots between them.
    Summary(String),
    /// `first`: the mean of a metric over the first quarter of the steps that have it.
    First(String),
    /// `last`: the mean of a metric over the last quarter of the steps that have it.
    Last(String),
    /// `half_way`: the share of the steps after which a metric has done half of its way from its first tenth to its last
    /// quarter, smoothed over a tenth of the steps.
    HalfWay(String),
}

impl TryFrom<String> for Measurement {
    type Error = String;

    fn try_from(said: String) -> Result<Self, String> {
        let (kind, name) = said.split_once(' ').unwrap_or((&said, ""));
        let name = name.trim().to_owned();
        let of = match kind {
            "before" => Self::Before,
            "after" => Self::After,
            "summary" => Self::Summary,
            "first" => Self::First,
            "last" => Self::Last,
            "half_way" => Self::HalfWay,
            _ => {
                return Err(format!(
                    "{said:?} should be `before`, `after`, `summary`, `first`, `last` or `half_way`, and a name"
                ));
            }
        };
        if name.is_empty() { Err(format!("{said:?} has no name")) } else { Ok(of(name)) }
    }
}

impl From<Measurement> for String {
    fn from(measurement: Measurement) -> Self {
        let (kind, name) = match measurement {
            Measurement::Before(name) => ("before", name),
            Measurement::After(name) => ("after", name),
            Measurement::Summary(name) => ("summary", name),
            Measurement::First(name) => ("first", name),
            Measurement::Last(name) => ("last", name),
            Measurement::HalfWay(name) => ("half_way", name),
        };
        format!("{kind} {name}")
    }
}

impl Measurement {
    /// Reads it.
    pub(super) fn read(&self, run: &Path) -> Result<f64, SweepError> {
        match self {
            Self::Before(score) => summary(run, &["before", score]),
            Self::After(score) => summary(run, &["after", score]),
            Self::Summary(keys) => summary(run, &keys.split('.').collect::<Vec<_>>()),
            Self::First(metric) => curve(run, metric).map(|curve| mean(&curve[..curve.len().div_ceil(4)])),
            Self::Last(metric) => curve(run, metric).map(|curve| mean(&curve[curve.len() - curve.len().div_ceil(4)..])),
            Self::HalfWay(metric) => curve(run, metric).map(|curve| half_way(&curve)),
        }
    }

    /// The name by which its unit is known.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Before(name) | Self::After(name) | Self::Summary(name) | Self::Last(name) | Self::First(name) => name,
            Self::HalfWay(_) => "",
        }
    }
}

fn summary(run: &Path, keys: &[&str]) -> Result<f64, SweepError> {
    let path = run.join(SUMMARY);
    let fault = |reason: String| SweepError::Run { path: path.clone(), reason };
    let text = std::fs::read(&path).map_err(|error| fault(error.to_string()))?;
    let whole: Value = serde_json::from_slice(&text).map_err(|error| fault(error.to_string()))?;
    let mut value = &whole;
    for &key in keys {
        let known = || match value {
            Value::Object(map) => map.keys().cloned().collect::<Vec<_>>().join("`, `"),
            _ => String::new(),
        };
        value = value.get(key).ok_or_else(|| fault(format!("no `{key}`; there is `{}`", known())))?;
    }
    value.as_f64().ok_or_else(|| fault(format!("`{}` is {value}, no number", keys.join("."))))
}

/// A metric of the steps that have it, in order.
fn curve(run: &Path, metric: &str) -> Result<Vec<f64>, SweepError> {
    let path = run.join(METRICS);
    let rows =
        read_metrics(&path).map_err(|error| SweepError::Run { path: path.clone(), reason: error.to_string() })?;
    let values: Vec<f64> = rows.iter().filter_map(|row| row.get(metric)).collect();
    match values.is_empty() {
        true => Err(SweepError::Run { path, reason: format!("no step has a {metric:?}") }),
        false => Ok(values),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn half_way(curve: &[f64]) -> f64 {
    let (tenth, quarter) = (curve.len().div_ceil(10), curve.len().div_ceil(4));
    let (from, to) = (mean(&curve[..tenth]), mean(&curve[curve.len() - quarter..]));
    let way = |at: f64| if to >= from { at - from } else { from - at };
    let smooth: Vec<f64> = curve.windows(tenth).map(mean).collect();
    let crossed = smooth.iter().position(|&at| way(at) >= (to - from).abs() / 2.0);
    crossed.map_or(1.0, |step| step as f64 / curve.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_way_is_found_upwards_and_downwards() {
        let late: Vec<f64> = (0..100).map(|step| if step < 60 { 0.0 } else { 1.0 }).collect();
        let early: Vec<f64> = (0..100).map(|step| if step < 20 { 1.0 } else { 0.0 }).collect();
        assert!((half_way(&late) - 0.55).abs() < 0.02, "{}", half_way(&late));
        assert!((half_way(&early) - 0.15).abs() < 0.02, "{}", half_way(&early));
    }
}
