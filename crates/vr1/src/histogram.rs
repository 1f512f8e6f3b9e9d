use std::fmt;

/// The values of a term, and how they are spread.
pub(crate) struct Histogram {
    name: String,
    values: Vec<f32>,
    missing: usize,
}

/// As many different values as have a line each; more are put into as many bins.
const BINS: usize = 10;
/// A bar's greatest length.
const WIDTH: usize = 40;

impl Histogram {
    pub(crate) fn new(name: String) -> Self {
        Self { name, values: Vec::new(), missing: 0 }
    }

    pub(crate) fn add(&mut self, value: Option<f32>) {
        match value {
            Some(value) => self.values.push(value),
            None => self.missing += 1,
        }
    }

    /// Each bin's name and how many values fall into it.
    fn bins(&self) -> Vec<(String, usize)> {
        let mut values = self.values.clone();
        values.sort_by(f32::total_cmp);
        let mut different: Vec<(f32, usize)> = Vec::new();
        for value in &values {
            match different.last_mut() {
                Some((last, count)) if last == value => *count += 1,
                _ => different.push((*value, 1)),
            }
        }
        let (Some(low), Some(high)) = (values.first(), values.last()) else { return Vec::new() };
        if different.len() <= BINS {
            return different.into_iter().map(|(value, count)| (value.to_string(), count)).collect();
        }
        let edge = |bin: usize| low + (high - low) * bin as f32 / BINS as f32;
        let bin = |value: f32| (((value - low) / (high - low) * BINS as f32) as usize).min(BINS - 1);
        let mut counts = [0; BINS];
        values.iter().for_each(|value| counts[bin(*value)] += 1);
        counts.iter().enumerate().map(|(i, count)| (format!("{:.3} … {:.3}", edge(i), edge(i + 1)), *count)).collect()
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.values.len();
        let sum: f64 = self.values.iter().copied().map(f64::from).sum();
        let mean = if count > 0 { format!("{:.4}", sum / count as f64) } else { "-".to_owned() };
        write!(f, "{}: mean {mean} of {count}", self.name)?;
        if self.missing > 0 {
            write!(f, ", {} missing", self.missing)?;
        }
        let bins = self.bins();
        let widest = bins.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let most = bins.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
        for (name, count) in bins {
            let bar = "█".repeat((count * WIDTH).div_ceil(most));
            write!(f, "\n  {name:>widest$}  {count:>6}  {bar}")?;
        }
        Ok(())
    }
}
