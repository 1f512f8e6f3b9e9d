//! A run's metrics as the charts of its page: by what they say, and thinned to what a screen can show.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use crate::{
    metrics::{StepMetrics, Summary},
    report::explained::{CARDS, Card, EXPLAINED, explained},
};

/// A chart and what it shows.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Curves {
    pub(crate) id: String,
    pub(crate) section: &'static str,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// What all its series say, where they are of one metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) says: Option<String>,
    /// Parts of a whole, one on the other.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stacked: bool,
    pub(crate) series: Vec<Curve>,
}

/// The points of one metric.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Curve {
    pub(crate) name: String,
    /// Its explanation; none of a metric of the user's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) says: Option<String>,
    /// Measured now and then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dots: bool,
    /// Which of the page's colours it has; else that of its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) colour: Option<usize>,
    /// How far each point may be off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) band: Option<Vec<Band>>,
    pub(crate) points: Vec<Point>,
}

/// A step and a number, which is `null` where it is not finite; with five digits, which is more than a screen shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point(pub(crate) f64, pub(crate) f64);

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (short(self.0, 12), short(self.1, 5)).serialize(serializer)
    }
}

/// A step, the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Band(pub(crate) f64, pub(crate) f64, pub(crate) f64);

impl Serialize for Band {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (short(self.0, 12), short(self.1, 5), short(self.2, 5)).serialize(serializer)
    }
}

/// A number with so many digits; none where it is not finite.
pub(crate) fn short(value: f64, digits: usize) -> Option<f64> {
    format!("{value:.*e}", digits.saturating_sub(1)).parse().ok().filter(|value: &f64| value.is_finite())
}

/// The points that a curve has at most.
pub(crate) const POINTS: usize = 400;

/// The charts of a run, those of which there is something to show.
pub(crate) fn curves(metrics: &[StepMetrics], summary: Option<&Summary>) -> Vec<Curves> {
    let names: BTreeSet<&str> = metrics.iter().flat_map(|row| row.values.keys().map(String::as_str)).collect();
    let ends = summary.map(ends).unwrap_or_default();
    let known = names.iter().copied().chain(ends.keys().copied()).collect::<BTreeSet<_>>();
    let card = |card: &Card| Curves {
        id: card.id.to_owned(),
        section: card.section,
        title: card.title.to_owned(),
        unit: card.unit,
        says: None,
        stacked: card.id == PHASES,
        series: match card.id {
            PHASES => phases(metrics),
            id => in_order(&known, id).into_iter().map(|name| curve(name, metrics, &names, &ends)).collect(),
        },
    };
    let shown = |curves: &Curves| curves.series.iter().any(|one| one.points.iter().any(|point| point.1.is_finite()));
    CARDS.iter().map(card).filter(shown).collect()
}

/// The card whose parts are stacked.
pub(crate) const PHASES: &str = "phases";

/// The metrics that a card shows, as the table of explanations has them.
pub(crate) fn in_order<'n>(names: &BTreeSet<&'n str>, card: &str) -> Vec<&'n str> {
    let place =
        |name: &str| explained(name).and_then(|found| EXPLAINED.iter().position(|one| std::ptr::eq(one, found)));
    let on = |name: &&str| explained(name).map_or("other", |found| found.card) == card;
    let mut found: Vec<&str> = names.iter().copied().filter(on).collect();
    found.sort_by_key(|name| place(name));
    found
}

type Ends<'s> = BTreeMap<&'s str, Vec<Point>>;

/// Held-out scores before the first step and after the last.
fn ends(summary: &Summary) -> Ends<'_> {
    let mut ends = Ends::new();
    for (step, scores) in [(0, &summary.before), (summary.steps, &summary.after)] {
        for name in summary.names() {
            ends.entry(name).or_default().extend(scores.get(name).map(|score| Point(step as f64, *score)));
        }
    }
    ends
}

fn curve(name: &str, metrics: &[StepMetrics], names: &BTreeSet<&str>, ends: &Ends<'_>) -> Curve {
    let mut points: Vec<Point> = Vec::new();
    if names.contains(name) {
        points.extend(metrics.iter().filter_map(|row| Some(Point(row.step as f64, row.get(name)?))));
    }
    let held_out = ends.get(name);
    if let Some(ends) = held_out {
        points.extend(ends);
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by(|later, first| later.0 == first.0);
    }
    let now_and_then = points.len() < metrics.len().div_ceil(2).max(3);
    Curve {
        name: name.to_owned(),
        says: explained(name).map(|found| found.says.to_owned()),
        dots: held_out.is_some() || now_and_then && points.len() <= POINTS / 2,
        colour: None,
        band: None,
        points: thinned(&points, POINTS),
    }
}

/// The least and the greatest of each stretch of points: peaks stay.
pub(crate) fn thinned(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most {
        return points.to_vec();
    }
    let stretch = |stretch: &[Point]| {
        let finite = || stretch.iter().enumerate().filter(|(_, point)| point.1.is_finite());
        let least = finite().min_by(|a, b| a.1.1.total_cmp(&b.1.1)).map(|(index, _)| index);
        let most = finite().max_by(|a, b| a.1.1.total_cmp(&b.1.1)).map(|(index, _)| index);
        let mut kept: Vec<usize> = least.into_iter().chain(most).collect();
        kept.sort_unstable();
        kept.dedup();
        kept.into_iter().map(|index| stretch[index]).collect::<Vec<_>>()
    };
    points.chunks(points.len().div_ceil(most / 2)).flat_map(stretch).collect()
}

/// The parts of a step's time, and what has no name of it. Those of sampling lie within `seconds_collecting`.
fn phases(metrics: &[StepMetrics]) -> Vec<Curve> {
    const COLLECTING: [&str; 4] = ["weights", "prefill", "decoding", "rewards"];
    const LEARNING: [&str; 4] = ["reference", "forward", "backward", "optimizer"];
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
    fn a_peak_stays_when_ten_thousand_points_are_thinned() {
        let mut points: Vec<Point> = (0..10_000).map(|step| Point(f64::from(step), 1.0)).collect();
        (points[4321].1, points[7000].1, points[9000].1) = (50.0, -50.0, f64::NAN);
        let thin = thinned(&points, POINTS);
        assert!(thin.len() <= POINTS);
        assert!(thin.contains(&Point(4321.0, 50.0)) && thin.contains(&Point(7000.0, -50.0)));
        assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

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

    #[test]
    fn numbers_are_short_and_those_that_are_none_are_null() {
        assert_eq!(
            serde_json::to_string(&[Point(12345.0, 0.123456789), Point(2.0, f64::NAN)]).ok().as_deref(),
            Some("[[12345.0,0.12346],[2.0,null]]")
        );
    }
}
