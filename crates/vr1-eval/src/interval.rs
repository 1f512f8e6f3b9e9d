use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// The standard normal's 97.5 % quantile.
const Z: f64 = 1.959_963_984_540_054;
/// How often a bootstrap draws.
const RESAMPLES: usize = 1000;
/// What a bootstrap draws by: the same answers always have the same interval.
const SEED: u64 = 0;

/// How an interval was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Interval {
    /// Wilson's, of a share.
    Wilson,
    /// The 2.5 % and 97.5 % quantiles of 1000 bootstrap resamples with a fixed seed.
    Bootstrap,
}

/// A number measured on some questions, with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// On how many questions.
    pub count: usize,
    /// How the interval was found.
    pub interval: Interval,
}

impl Estimate {
    /// The mean of marks. Where all are 0 or 1 it is a share, and its interval is Wilson's
    ///
    /// `(p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)`
    ///
    /// (Wilson, *Probable inference*, 1927); otherwise it is a bootstrap's. Nothing where there are no marks.
    ///
    /// # Example
    /// ```
    /// use vr1_eval::Estimate;
    /// let share = Estimate::mean(&[1.0, 1.0, 0.0, 1.0]).expect("there are four");
    /// assert_eq!(share.value, 0.75);
    /// assert!((share.low - 0.3006).abs() < 1e-4 && (share.high - 0.9544).abs() < 1e-4);
    /// ```
    #[must_use]
    pub fn mean(marks: &[f64]) -> Option<Self> {
        if marks.iter().any(|mark| *mark != 0.0 && *mark != 1.0) {
            return Self::weighted(&[(1.0, marks)]);
        }
        let count = marks.len();
        if count == 0 {
            return None;
        }
        let (n, right) = (count as f64, marks.iter().sum::<f64>());
        let p = right / n;
        let middle = p + Z * Z / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        // Rounding must not put an end of the interval beyond what it is an interval of.
        let (low, high) = (((middle - half) / scale).clamp(0.0, p), ((middle + half) / scale).clamp(p, 1.0));
        Some(Self { value: p, low, high, count, interval: Interval::Wilson })
    }

    /// The weighted sum of the means of several parts, each resampled within itself. Nothing where a part has no marks.
    #[must_use]
    pub fn weighted(parts: &[(f64, &[f64])]) -> Option<Self> {
        if parts.is_empty() || parts.iter().any(|(_, marks)| marks.is_empty()) {
            return None;
        }
        let mean = |marks: &[f64], drawn: &[usize]| drawn.iter().map(|i| marks[*i]).sum::<f64>() / drawn.len() as f64;
        let value = parts.iter().map(|(weight, marks)| weight * marks.iter().sum::<f64>() / marks.len() as f64).sum();
        let count = parts.iter().map(|(_, marks)| marks.len()).sum();
        Some(Self::bootstrapped(value, count, |draw| {
            parts.iter().map(|(weight, marks)| weight * mean(marks, &draw(marks.len()))).sum()
        }))
    }

    /// A number `value` with the interval that a bootstrap of its questions gives: `statistic` gets who draws, from a count,
    /// as many places below it, and says the number on these.
    pub(crate) fn bootstrapped(
        value: f64,
        count: usize,
        statistic: impl Fn(&mut dyn FnMut(usize) -> Vec<usize>) -> f64,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut draw = |n: usize| -> Vec<usize> {
            // Multiplied and shifted: the bias of 2⁻⁶⁴·n is nothing.
            (0..n).map(|_| ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize).collect()
        };
        let mut found: Vec<f64> = (0..RESAMPLES).map(|_| statistic(&mut draw)).collect();
        found.sort_by(f64::total_cmp);
        let (low, high) = (found[RESAMPLES * 25 / 1000], found[RESAMPLES * 975 / 1000 - 1]);
        Self { value, low, high, count, interval: Interval::Bootstrap }
    }
}
