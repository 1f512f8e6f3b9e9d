use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Estimate;
use crate::benchmark::{Benchmark, Judged};

/// Estimates by the name of the metric.
pub type Metrics = BTreeMap<String, Estimate>;

/// What came of a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The benchmark.
    pub benchmark: String,
    /// Which of the metrics is its score.
    pub headline: String,
    /// How many questions were asked.
    pub count: usize,
    /// How many the benchmark has.
    pub of: usize,
    /// How many answers could not be read; they count as wrong.
    pub unread: usize,
    /// How many have no verdict, since a judge or a reward failed; they count for nothing.
    pub missing: usize,
    /// Why the first of those has none.
    pub why_missing: Option<String>,
    /// How many did not end by themselves.
    pub truncated: usize,
    /// Mean length of an answer in tokens.
    pub completion_length: f64,
    /// Over all questions.
    pub metrics: Metrics,
    /// Over the questions of each group: by what it is grouped, then by the group's name.
    pub groups: BTreeMap<String, BTreeMap<String, Metrics>>,
}

impl Summary {
    /// The benchmark's score; nothing where no answer has a verdict.
    #[must_use]
    pub fn score(&self) -> Option<Estimate> {
        self.metrics.get(&self.headline).copied()
    }

    /// Counts what was judged, of `of` questions in all.
    pub(crate) fn of(benchmark: Benchmark, judged: &[Judged<'_>], of: usize) -> Self {
        let mut groups: BTreeMap<String, BTreeMap<String, Vec<&Judged<'_>>>> = BTreeMap::new();
        for one in judged {
            for (by, name) in &one.item.groups {
                groups.entry(by.clone()).or_default().entry(name.clone()).or_default().push(one);
            }
        }
        let groups = groups.into_iter().map(|(by, parts)| {
            let parts = parts.into_iter().map(|(name, part)| (name, metrics(part.into_iter()))).collect();
            (by, parts)
        });
        let missing = judged.iter().filter_map(|one| Some((one, one.mark.missing.as_ref()?)));
        let unread = judged.iter().filter(|one| one.mark.how.is_none() && one.mark.missing.is_none());
        let mut summary = Self {
            benchmark: benchmark.name().to_owned(),
            headline: benchmark.headline().to_owned(),
            count: judged.len(),
            of,
            unread: unread.count(),
            missing: missing.clone().count(),
            why_missing: missing.clone().next().map(|(one, why)| format!("{}: {why}", one.item.at)),
            truncated: 0,
            completion_length: 0.0,
            metrics: metrics(judged.iter()),
            groups: groups.collect(),
        };
        if let Some(more) = benchmark.0.summarise {
            more(judged, &mut summary);
        }
        summary
    }
}

fn metrics<'a, 'b: 'a>(judged: impl Iterator<Item = &'a Judged<'b>>) -> Metrics {
    let mut marks: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for one in judged.filter(|one| one.mark.missing.is_none()) {
        one.mark.marks.iter().for_each(|(name, mark)| marks.entry(name).or_default().push(*mark));
    }
    marks.into_iter().filter_map(|(name, marks)| Some((name.to_owned(), Estimate::mean(&marks)?))).collect()
}
