//! Where a step's seconds went: phases that lie one on the other.

use crate::{
    metrics::StepMetrics,
    report::{
        curves::Curve,
        explained::explained,
        points::{POINTS, Point},
    },
};

/// The parts of a step's time, and what has no name of it. Those of sampling lie within `seconds_collecting`.
pub(crate) fn phases(metrics: &[StepMetrics]) -> Vec<Curve> {
    const COLLECTING: [&str; 4] = ["weights", "prefill", "decoding", "rewards"];
    const LEARNING: [&str; 6] = ["reference", "forward", "backward", "waiting", "reduce", "optimizer"];
    let get = |row: &StepMetrics, name: &str| row.get(&format!("seconds_{name}")).filter(|seconds| seconds.is_finite());
    let sum = |row: &StepMetrics, names: &[&str]| names.iter().filter_map(|name| get(row, name)).sum::<f64>();
    let part = |name: &str| {
        let says = explained(&format!("seconds_{name}")).map(|found| found.says.to_owned());
        (name.to_owned(), says, averaged(metrics, |row| get(row, name)))
    };
    let rest = |name: &str, says: &str, seconds: &dyn Fn(&StepMetrics) -> Option<f64>| {
        (name.to_owned(), Some(says.to_owned()), averaged(metrics, seconds))
    };
    let mut parts: Vec<(String, Option<String>, Vec<Point>)> = COLLECTING.into_iter().map(part).collect();
    parts.push(rest("other collecting", "reading, prompts, advantages and files", &|row| {
        Some((get(row, "collecting")? - sum(row, &COLLECTING)).max(0.0))
    }));
    parts.extend(LEARNING.into_iter().map(part));
    parts.push(rest("rest", "of the step, what no phase names", &|row| {
        let collecting = get(row, "collecting").unwrap_or_default();
        Some((row.get("seconds")? - collecting - sum(row, &LEARNING)).max(0.0))
    }));
    parts.retain(|(_, _, points)| points.iter().any(|point| point.1 > 0.0));
    parts
        .into_iter()
        .map(|(name, says, points)| Curve { name, says, dots: false, colour: None, band: None, points })
        .collect()
}

/// The mean of each stretch of steps: all parts have the same steps, so that they can be stacked.
fn averaged(metrics: &[StepMetrics], seconds: impl Fn(&StepMetrics) -> Option<f64>) -> Vec<Point> {
    let stretch = |rows: &[StepMetrics]| {
        let sum: f64 = rows.iter().filter_map(&seconds).filter(|seconds| seconds.is_finite()).sum();
        Point(rows.last().map_or(0.0, |row| row.step as f64), sum / rows.len() as f64)
    };
    metrics.chunks(metrics.len().div_ceil(POINTS).max(1)).map(stretch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_add_up_to_the_step() {
        let seconds = |name: &str| format!("seconds_{name}");
        let row = |step| {
            let parts = [("collecting", 5.0), ("prefill", 1.0), ("decoding", 3.0), ("forward", 2.0), ("backward", 2.5)];
            parts.iter().fold(StepMetrics::new(step).with("seconds", 10.0), |row, (name, value)| {
                row.with(&seconds(name), *value)
            })
        };
        let metrics: Vec<_> = (1..=1000).map(row).collect();
        let parts = phases(&metrics);
        assert!(parts.iter().any(|part| part.name == "other collecting" && part.points[0].1 == 1.0));
        for index in 0..parts[0].points.len() {
            let sum: f64 = parts.iter().map(|part| part.points[index].1).sum();
            assert!((sum - 10.0).abs() < 1e-9, "{sum}");
        }
    }
}
