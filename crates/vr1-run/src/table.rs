//! What training did, as a table for stdout.

use crate::metrics::Summary;

/// How a number is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A share of one, shown in percent; its change in points.
    Percent,
    /// A number as it is.
    Number,
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
        let shown = |value: f64| match self.unit {
            _ if !value.is_finite() => "-".to_owned(),
            Unit::Percent => format!("{:.1} %", 100.0 * value),
            Unit::Number => format!("{value:.3}"),
        };
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
    let share = |name: &str| ["accuracy", "format", "rate"].iter().any(|word| name.contains(word));
    let row = |name: &str| Row {
        name: name.to_owned(),
        before: summary.before.get(name).copied().unwrap_or(f64::NAN),
        after: summary.after.get(name).copied().unwrap_or(f64::NAN),
        unit: if share(name) { Unit::Percent } else { Unit::Number },
    };
    summary.names().into_iter().map(row).collect()
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
    let cells: Vec<[String; 4]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let wide = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(wide);
    let line = |row: &[String; 4]| {
        let [name, rest @ ..] = row;
        let pad = " ".repeat(widths[0] - name.chars().count());
        let rest: String = rest.iter().zip(&widths[1..]).map(|(cell, width)| format!("  {cell:>width$}")).collect();
        format!("{name}{pad}{rest}\n")
    };
    let rule = widths.map(|width| "-".repeat(width));
    [line(&cells[0]), line(&rule)].into_iter().chain(cells[1..].iter().map(line)).collect()
}
