//! What was found in all rows, counted, and how it is told.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use super::finding::{Finding, Kind, Severity};
use super::look::Looked;

/// Counts of everything, and some examples of each fault.
pub(crate) struct Tally {
    /// How many of each kind are told in full.
    examples: usize,
    pub(crate) rows: usize,
    pub(crate) pictures: usize,
    pub(crate) videos: usize,
    /// Tokens of each row: words, media, its own answer, patches.
    tokens: [Vec<u32>; 3],
    counts: BTreeMap<Kind, usize>,
    told: Vec<Finding>,
}

impl Tally {
    pub(crate) fn new(examples: usize) -> Self {
        let (counts, told) = (BTreeMap::new(), Vec::new());
        Self { examples, rows: 0, pictures: 0, videos: 0, tokens: Default::default(), counts, told }
    }

    pub(crate) fn row(&mut self, looked: &Looked) {
        self.rows += 1;
        self.pictures += looked.pictures.len();
        self.videos += looked.videos;
        if let Some(count) = &looked.count {
            let answer = count.longest() - count.prompt.total();
            let all = [count.prompt.text, count.prompt.media, answer];
            self.tokens.iter_mut().zip(all).for_each(|(of_rows, tokens)| of_rows.push(tokens as u32));
        }
    }

    pub(crate) fn find(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.kind).or_default();
        *count += 1;
        if *count <= self.examples {
            self.told.push(finding);
        }
    }

    fn of(&self, severity: Severity) -> BTreeMap<&'static str, usize> {
        let of = self.counts.iter().filter(|(kind, _)| kind.severity() == severity);
        of.map(|(kind, count)| (kind.name(), *count)).collect()
    }

    /// How many findings there are of a severity.
    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.of(severity).values().sum()
    }

    fn totals(&self) -> Vec<u32> {
        let [words, media, answers] = &self.tokens;
        words.iter().zip(media).zip(answers).map(|((words, media), answer)| words + media + answer).collect()
    }

    pub(crate) fn json(&self, distinct: usize, limit: Option<usize>, seconds: f64) -> Value {
        let [words, media, answers] = &self.tokens;
        let totals = self.totals();
        let tokens = (!totals.is_empty()).then(|| {
            let histogram: Vec<Value> = bins(&totals)
                .into_iter()
                .map(|(from, to, count)| json!({"from": from, "to": to, "rows": count}))
                .collect();
            json!({
                "limit": limit, "words": spread(words), "media": spread(media), "answers": spread(answers),
                "total": spread(&totals), "histogram": histogram,
            })
        });
        json!({
            "rows": self.rows, "pictures": self.pictures, "distinct_pictures": distinct, "videos": self.videos,
            "seconds": seconds, "tokens": tokens, "faults": self.of(Severity::Fault), "notes": self.of(Severity::Note),
            "examples": self.told,
        })
    }

    /// A table for people.
    pub(crate) fn told(&self, distinct: usize, seconds: f64) -> Result<String, fmt::Error> {
        let mut out = String::new();
        let a_second = self.pictures.max(self.rows) as f64 / seconds.max(1e-9);
        writeln!(
            out,
            "{} rows, {} pictures ({distinct} different), {} videos in {seconds:.1} s, {a_second:.0} a second",
            self.rows, self.pictures, self.videos
        )?;
        let totals = self.totals();
        if !totals.is_empty() {
            writeln!(out, "\n  tokens       least   median     95 %     most        all")?;
            let [words, media, answers] = &self.tokens;
            for (name, of) in [("words", words), ("media", media), ("answers", answers), ("a row", &totals)] {
                let Spread { least, median, most_of, most, sum } = Spread::of(of);
                writeln!(out, "  {name:<8}  {least:>8} {median:>8} {most_of:>8} {most:>8} {sum:>10}")?;
            }
            let bins = bins(&totals);
            let highest = bins.iter().map(|(.., count)| *count).max().unwrap_or(1).max(1);
            writeln!(out)?;
            for (from, to, count) in bins {
                writeln!(out, "  {from:>8} … {to:<8} {count:>8}  {}", "█".repeat((count * 40).div_ceil(highest)))?;
            }
        }
        for (severity, name) in [(Severity::Fault, "faults"), (Severity::Note, "notes")] {
            let kinds: Vec<_> = self.counts.iter().filter(|(kind, _)| kind.severity() == severity).collect();
            if kinds.is_empty() {
                writeln!(out, "\nno {name}")?;
                continue;
            }
            writeln!(out, "\n{name}: {}", self.count(severity))?;
            for (kind, count) in kinds {
                writeln!(out, "  {} ({count})", kind.name())?;
                for finding in self.told.iter().filter(|finding| finding.kind == *kind) {
                    writeln!(out, "    {}: {}", finding.place, finding.reason)?;
                }
                if *count > self.examples {
                    writeln!(out, "    … and {} more", count - self.examples)?;
                }
            }
        }
        Ok(out)
    }
}

/// How numbers are spread.
struct Spread {
    least: u32,
    median: u32,
    /// Of 95 of 100 rows none is greater.
    most_of: u32,
    most: u32,
    sum: u64,
}

impl Spread {
    fn of(values: &[u32]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let at =
            |share: f64| sorted.get(((sorted.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or(0);
        let sum = values.iter().map(|&v| u64::from(v)).sum();
        Self { least: at(0.0), median: at(0.5), most_of: at(0.95), most: at(1.0), sum }
    }
}

fn spread(values: &[u32]) -> Value {
    let Spread { least, median, most_of, most, sum } = Spread::of(values);
    json!({"min": least, "median": median, "p95": most_of, "max": most, "sum": sum})
}

/// Ten bins of whole numbers.
fn bins(values: &[u32]) -> Vec<(u32, u32, usize)> {
    let (Some(&low), Some(&high)) = (values.iter().min(), values.iter().max()) else { return vec![] };
    let width = (high - low + 1).div_ceil(10).max(1);
    let count = (high - low + 1).div_ceil(width);
    let mut bins: Vec<(u32, u32, usize)> =
        (0..count).map(|bin| (low + bin * width, (low + (bin + 1) * width - 1).min(high), 0)).collect();
    values.iter().for_each(|value| bins[((value - low) / width) as usize].2 += 1);
    bins
}
