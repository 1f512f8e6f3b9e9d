//! What training did, as a table for stdout.

use std::collections::BTreeMap;

use crate::metrics::Summary;

/// How a number is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A share of one, shown in percent; its change in points.
    Percent,
    /// A number as it is.
    Number,
}

impl Unit {
    pub(crate) fn shown(self, value: f64) -> String {
        match self {
            _ if !value.is_finite() => "-".to_owned(),
            Self::Percent => format!("{:.1} %", 100.0 * value),
            Self::Number => format!("{value:.3}"),
        }
    }
}

/// A score before and after training; NaN where it was not measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What was measured, and on what.
    pub name: String,
    /// Before the first step.
    pub before: f64,
    /// After the last.
    pub after: f64,
    /// How to show it.
    pub unit: Unit,
}

impl Row {
    /// The cells of a row: name, before, after, change.
    #[must_use]
    pub fn cells(&self) -> [String; 4] {
        let change = self.after - self.before;
        let shown = |value| self.unit.shown(value);
        let change = match self.unit {
            _ if !change.is_finite() => "-".to_owned(),
            Unit::Percent => format!("{:+.1} points", 100.0 * change),
            Unit::Number => format!("{change:+.3}"),
        };
        [self.name.clone(), shown(self.before), shown(self.after), change]
    }
}

/// The rows of a summary's scores. A name that holds `accuracy`, `format` or `rate` is a share of one.
#[must_use]
pub fn summary_rows(summary: &Summary) -> Vec<Row> {
    let row = |name: &str| Row {
        name: name.to_owned(),
        before: summary.before.get(name).copied().unwrap_or(f64::NAN),
        after: summary.after.get(name).copied().unwrap_or(f64::NAN),
        unit: unit(name),
    };
    summary.names().into_iter().map(row).collect()
}

/// How a score of this name is shown.
pub(crate) fn unit(name: &str) -> Unit {
    let share = ["accuracy", "format", "rate"].iter().any(|word| name.contains(word));
    if share { Unit::Percent } else { Unit::Number }
}

/// An aligned table of rows under the heading `before`, `after`, `change`; `title` stands over the names.
///
/// # Example
/// ```
/// use vr1_run::{Row, Unit, before_after_table};
/// let rows = [Row { name: "accuracy".into(), before: 0.315, after: 0.62, unit: Unit::Percent }];
/// assert_eq!(before_after_table("held out", &rows), "\
/// held out  before   after        change
/// --------  ------  ------  ------------
/// accuracy  31.5 %  62.0 %  +30.5 points
/// ");
/// ```
#[must_use]
pub fn before_after_table(title: &str, rows: &[Row]) -> String {
    let head = [title, "before", "after", "change"].map(str::to_owned);
    let cells: Vec<Vec<String>> = std::iter::once(head).chain(rows.iter().map(Row::cells)).map(Vec::from).collect();
    aligned(&cells)
}

/// The first column to the left, the others to the right, and a rule below the first row.
pub(crate) fn aligned(cells: &[Vec<String>]) -> String {
    let Some((head, rest)) = cells.split_first() else { return String::new() };
    let wide = |column: usize| cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| wide(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let pad = |(column, (cell, width)): (usize, (&String, &usize))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        };
        row.iter().zip(&widths).enumerate().map(pad).collect::<String>() + "\n"
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    [line(head), line(&rule)].into_iter().chain(rest.iter().map(line)).collect()
}

/// What each stage of a run brought: its accuracies before the first and after each, aligned; nothing where there is one
/// stage.
///
/// # Example
/// ```
/// use vr1_run::{StageScores, Summary, stage_table};
/// let scores = |accuracy| [("accuracy".to_owned(), accuracy)].into();
/// let stage = |name: &str, steps, accuracy| StageScores { name: name.into(), steps, scores: scores(accuracy) };
/// let stages = vec![stage("sft", 40, 0.5), stage("grpo", 8, 0.625)];
/// let summary = Summary { before: scores(0.2), after: scores(0.625), stages, steps: 48, ..Summary::default() };
/// assert_eq!(stage_table(&summary), "\
/// stage   steps  accuracy
/// ------  -----  --------
/// before           20.0 %
/// sft        40    50.0 %
/// grpo        8    62.5 %
/// ");
/// ```
#[must_use]
pub fn stage_table(summary: &Summary) -> String {
    aligned(&stage_cells(summary))
}

/// The cells of [`stage_table`], its head first.
pub(crate) fn stage_cells(summary: &Summary) -> Vec<Vec<String>> {
    if summary.stages.is_empty() {
        return Vec::new();
    }
    let known = summary.stages.iter().flat_map(|stage| stage.scores.keys()).map(String::as_str);
    let mut names: Vec<&str> =
        summary.names().into_iter().chain(known).filter(|name| name.contains("accuracy")).collect();
    names.sort_unstable();
    names.dedup();
    if names.iter().any(|name| name.ends_with("/accuracy")) {
        names.retain(|name| *name != "accuracy");
    }
    let row = |name: &str, steps: String, scores: &BTreeMap<String, f64>| {
        let score = |name: &&str| scores.get(*name).map_or_else(|| "-".to_owned(), |score| Unit::Percent.shown(*score));
        [name.to_owned(), steps].into_iter().chain(names.iter().map(score)).collect::<Vec<String>>()
    };
    let head = ["stage", "steps"].into_iter().chain(names.iter().copied()).map(str::to_owned).collect();
    let stages = summary.stages.iter().map(|stage| row(&stage.name, stage.steps.to_string(), &stage.scores));
    [head, row("before", String::new(), &summary.before)].into_iter().chain(stages).collect()
}
