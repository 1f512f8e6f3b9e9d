use std::fmt::Write;

use super::{Sweep, Swept, Verdict, over_seeds};
use crate::{
    compare::{change, shown},
    table::{Unit, aligned, unit},
};

impl Swept {
    /// Each value of each arm over the seeds, and what became of the claims, as text for a person.
    #[must_use]
    pub fn told(&self, sweep: &Sweep) -> String {
        let mut told = format!("{}\n\n{}", self.finding.trim(), aligned(&self.table(sweep)));
        if !self.verdicts.is_empty() {
            told.push('\n');
        }
        for verdict in &self.verdicts {
            let _ = writeln!(told, "{}", line(verdict, sweep));
        }
        told
    }

    /// The same in Markdown.
    #[must_use]
    pub fn markdown(&self, sweep: &Sweep) -> String {
        let table = self.table(sweep);
        let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut told = format!("{}\n\n{}", self.finding.trim(), row(&table[0]));
        told += &row(&vec!["---".to_owned(); table[0].len()]);
        told.extend(table[1..].iter().map(|cells| row(cells)));
        told.push('\n');
        for verdict in &self.verdicts {
            let _ = writeln!(told, "- {}", line(verdict, sweep));
        }
        told
    }

    fn table(&self, sweep: &Sweep) -> Vec<Vec<String>> {
        let head = std::iter::once(format!("{} seeds", self.seeds.len())).chain(self.measured.keys().cloned());
        let row = |value: &String| {
            let unit = unit_of(sweep, value);
            let cells = self.measured.values().map(|arm| shown(over_seeds(&arm[value]), unit));
            std::iter::once(value.clone()).chain(cells).collect()
        };
        std::iter::once(head.collect()).chain(sweep.values.keys().map(row)).collect()
    }
}

fn unit_of(sweep: &Sweep, value: &str) -> Unit {
    // A share by its own name or by what the sweep calls it.
    let names = [value, sweep.values.get(value).map_or("", |measurement| measurement.name())];
    if names.iter().any(|name| unit(name) == Unit::Percent) { Unit::Percent } else { Unit::Number }
}

/// `holds: more out of domain: +12.0 ± 1.5 points (95 %: +7.8 to +16.2, 5 seeds)`
fn line(verdict: &Verdict, sweep: &Sweep) -> String {
    let word = match verdict.holds {
        Some(true) => "holds",
        Some(false) => "does not hold",
        None => "not shown",
    };
    let unit = unit_of(sweep, &verdict.value);
    let (scale, digits) = match unit {
        Unit::Percent => (100.0, 1),
        Unit::Number => (1.0, 3),
    };
    let difference = change(verdict.difference, verdict.standard_error, unit);
    let seeds = format!("{} seed{}", verdict.seeds, if verdict.seeds == 1 { "" } else { "s" });
    let within = verdict.interval.map_or(seeds.clone(), |(low, high)| {
        format!("95 %: {:+.digits$} to {:+.digits$}, {seeds}", scale * low, scale * high)
    });
    let by =
        if verdict.by == 0.0 { String::new() } else { format!(", where {:+.digits$} is asked", scale * verdict.by) };
    format!("{word}: {}: {difference} ({within}{by})", verdict.claim)
}
