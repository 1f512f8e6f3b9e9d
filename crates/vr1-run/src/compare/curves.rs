//! Curves of several runs over each other: a chart a metric, a colour a group.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    compare::{Comparison, Run, Together, statistics::Measured},
    report::{Band, CARDS, Curve, Curves, POINTS, Point, explained, in_order, thinned},
};

impl Comparison {
    pub(super) fn curves(&self) -> Vec<Curves> {
        let recorded = self.runs.iter().flat_map(|run| run.metrics.iter().flat_map(|row| row.values.keys()));
        let scored = self.runs.iter().filter_map(|run| run.summary.as_ref()).flat_map(|summary| summary.names());
        let mut names: BTreeSet<&str> = recorded.map(String::as_str).chain(scored).collect();
        // Which stage a step is of is a label, no curve.
        names.remove("stage");
        // The page stays below some megabytes, however many they are.
        let most = (4 * POINTS / self.groups.len().max(1)).clamp(50, POINTS);
        let chart = |section: &'static str, unit: &'static str, name: &str| Curves {
            id: name.to_owned(),
            section,
            title: name.to_owned(),
            unit,
            says: explained(name).map(|found| found.says.to_owned()),
            stacked: false,
            series: self
                .groups
                .iter()
                .enumerate()
                .filter_map(|(at, group)| self.curve(at, group, name, most))
                .collect(),
        };
        let cards = CARDS.iter().flat_map(|card| {
            in_order(&names, card.id).into_iter().map(|name| chart(card.section, card.unit, name)).collect::<Vec<_>>()
        });
        let shown = |chart: &Curves| chart.series.iter().any(|one| one.points.iter().any(|point| point.1.is_finite()));
        cards.filter(shown).collect()
    }

    fn curve(&self, colour: usize, group: &Together, name: &str, most: usize) -> Option<Curve> {
        let mut steps: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for &run in &group.runs {
            points(&self.runs[run], name)
                .into_iter()
                .for_each(|(step, value)| steps.entry(step).or_default().push(value));
        }
        let measured: Vec<(u64, Measured)> =
            steps.into_iter().map(|(step, values)| (step, Measured::of(values.into_iter()))).collect();
        let mean = |(step, value): &(u64, Measured)| Point(*step as f64, value.mean.unwrap_or(f64::NAN));
        let mean: Vec<Point> = measured.iter().map(mean).collect();
        let points = thinned(&mean, most);
        let kept: BTreeSet<u64> = points.iter().map(|point| point.0 as u64).collect();
        let band = measured.iter().filter(|(step, _)| kept.contains(step)).filter_map(|(step, value)| {
            let (mean, error) = value.mean.zip(value.standard_error)?;
            Some(Band(*step as f64, mean - error, mean + error))
        });
        let band: Vec<Band> = band.collect();
        let longest = group.runs.iter().map(|&run| self.runs[run].metrics.len()).max().unwrap_or(0);
        (!points.is_empty()).then(|| Curve {
            name: group.name.clone(),
            says: None,
            dots: points.len() < longest.div_ceil(2).max(3),
            colour: Some(colour),
            band: (!band.is_empty()).then_some(band),
            points,
        })
    }
}

/// A metric's numbers, and the scores before and after of that name.
fn points(run: &Run, name: &str) -> BTreeMap<u64, f64> {
    let recorded = run.metrics.iter().filter_map(|row| Some((row.step, row.get(name)?)));
    let mut points: BTreeMap<u64, f64> = recorded.collect();
    if let Some(summary) = run.summary.as_ref().filter(|summary| summary.names().contains(name)) {
        for (step, scores) in [(0, &summary.before), (summary.steps, &summary.after)] {
            if let Some(score) = scores.get(name) {
                points.entry(step).or_insert(*score);
            }
        }
    }
    points
}
