//! A run's metrics as the charts of its page: by what they say, and thinned to what a screen can show.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    metrics::{StepMetrics, Summary},
    report::{
        explained::{CARDS, Card, EXPLAINED, explained},
        phases::phases,
        points::{Band, POINTS, Point, thinned},
    },
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
const PHASES: &str = "phases";

/// The metrics that a card shows, as the table of explanations has them.
pub(crate) fn in_order<'n>(names: &BTreeSet<&'n str>, card: &str) -> Vec<&'n str> {
    let place = |name: &str| explained(name).and_then(|found| EXPLAINED.iter().position(|one| one.name == found.name));
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
