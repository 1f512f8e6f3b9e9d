//! A comparison in words: tables for stdout, and the same on a page.

use serde::Serialize;

use crate::{
    compare::{Comparison, Difference, Run, Together, statistics::Measured},
    report::{Curves, page, time},
    run_error::RunError,
    table::{Unit, aligned, unit},
};

/// What the page's script is given; of each table the head first.
#[derive(Serialize)]
struct Data {
    kind: &'static str,
    title: String,
    status: String,
    told: &'static str,
    scores: Vec<Vec<String>>,
    differences: Vec<Vec<String>>,
    runs: Vec<Vec<String>>,
    charts: Vec<Curves>,
}

const ERROR: &str = "Runs that differ in nothing but the seed stand together: mean ± standard error of the mean over them, and \
    the change is that of each run. A curve of such runs is the mean over those that have the step, with the standard error \
    as a band.";

impl Comparison {
    /// Tables of scores, of what differs in the recipes, and of the runs, as text.
    #[must_use]
    pub fn told(&self) -> String {
        let nothing = if self.groups.len() > 1 { "" } else { "the recipes differ in nothing but the seed\n" };
        let tables = [self.scores(), self.differences(), self.runs()];
        let tables = tables.iter().filter(|table| table.len() > 1).map(|table| aligned(table));
        tables.chain((!nothing.is_empty()).then(|| nothing.to_owned())).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn page(&self) -> Result<String, RunError> {
        let names: Vec<&str> = self.runs.iter().map(|run| run.name.as_str()).collect();
        let title = match names.len() {
            0..=3 => names.join(", "),
            more => format!("{} and {} more", names[..2].join(", "), more - 2),
        };
        let data = Data {
            kind: "compare",
            status: format!("{} runs, {} of them of different recipes", self.runs.len(), self.groups.len()),
            told: ERROR,
            scores: Some(self.scores()).filter(|rows| rows.len() > 1).unwrap_or_default(),
            differences: self.differences(),
            runs: self.runs(),
            charts: self.curves(),
            title: title.clone(),
        };
        page(&title, &data)
    }

    fn scores(&self) -> Vec<Vec<String>> {
        let mut names: Vec<&String> = self.groups.iter().flat_map(|group| group.scores.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let mut rows = vec![["score", "run", "before", "after", "change"].map(str::to_owned).to_vec()];
        for name in names {
            let unit = unit(name);
            let row = |group: &Together| {
                let score = group.scores.get(name)?;
                let [before, after] = [score.before, score.after].map(|value| shown(value, unit));
                let moved = change(score.change.mean.unwrap_or(f64::NAN), score.change.standard_error, unit);
                Some(vec![name.clone(), group.name.clone(), before, after, moved])
            };
            rows.extend(self.groups.iter().filter_map(row));
        }
        rows
    }

    fn differences(&self) -> Vec<Vec<String>> {
        let names = self.groups.iter().map(|group| group.name.clone());
        let head = std::iter::once("key".to_owned()).chain(names).collect();
        let value = |value: &Option<String>| value.as_deref().map_or_else(|| "–".to_owned(), short);
        let row =
            |one: &Difference| std::iter::once(one.key.clone()).chain(one.values.iter().map(value)).collect::<Vec<_>>();
        std::iter::once(head).chain(self.differences.iter().map(row)).collect()
    }

    fn runs(&self) -> Vec<Vec<String>> {
        let head = ["run", "together as", "seed", "steps", "time"].map(str::to_owned).to_vec();
        let row = |run: &Run| {
            let of = run.of.filter(|of| *of != run.steps).map(|of| format!(" of {of}")).unwrap_or_default();
            vec![
                run.name.clone(),
                self.groups[run.group].name.clone(),
                run.seed.clone().unwrap_or_else(|| "–".into()),
                format!("{}{of}", run.steps),
                run.seconds.map_or_else(|| "–".into(), time),
            ]
        };
        std::iter::once(head).chain(self.runs.iter().map(row)).collect()
    }
}

/// A value of a recipe on one line, and not much of a long one.
fn short(value: &str) -> String {
    let line = value.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= 60 { line } else { line.chars().take(59).chain(['…']).collect() }
}

pub(crate) fn shown(value: Measured, unit: Unit) -> String {
    let Some(mean) = value.mean else { return "–".to_owned() };
    match (unit, value.standard_error) {
        (_, None) => unit.shown(mean),
        (Unit::Percent, Some(error)) => format!("{:.1} ± {:.1} %", 100.0 * mean, 100.0 * error),
        (Unit::Number, Some(error)) => format!("{mean:.3} ± {error:.3}"),
    }
}

/// `+12.0 ± 1.5 points`
pub(crate) fn change(mean: f64, error: Option<f64>, unit: Unit) -> String {
    if mean.is_nan() {
        return "–".to_owned();
    }
    let (scale, digits, word) = match unit {
        Unit::Percent => (100.0, 1, " points"),
        Unit::Number => (1.0, 3, ""),
    };
    let error = error.map(|error| format!(" ± {:.digits$}", scale * error)).unwrap_or_default();
    format!("{:+.digits$}{error}{word}", scale * mean)
}
