use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Sweep, over_seeds};

/// That one number is above another, seed by seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// In words.
    pub claim: String,
    /// The value that should be greater.
    pub value: String,
    /// Of this arm.
    pub of: String,
    /// Than that of this arm; the same arm where none is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<String>,
    /// Than this value; the same where none is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_value: Option<String>,
    /// By more than this; below 0 it may be so much less, and still is no worse.
    #[serde(default)]
    pub by: f64,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The claim in words.
    pub claim: String,
    /// Mean of the differences, seed by seed.
    pub difference: f64,
    /// Its standard error; none of one seed.
    pub standard_error: Option<f64>,
    /// The 95 % interval of the mean, by Student's t; none of one seed.
    pub interval: Option<(f64, f64)>,
    /// By how much more it had to be.
    pub by: f64,
    /// `Some(true)` where the whole interval is above what was claimed, `Some(false)` where it is below; else these
    /// seeds do not say.
    pub holds: Option<bool>,
    /// The value whose unit the difference has.
    pub value: String,
    /// Seeds that have both numbers.
    pub seeds: usize,
}

/// The 97.5 % quantiles of Student's t with 1, 2, … degrees of freedom; beyond, the normal distribution's is near enough.
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

impl Claim {
    /// The arm and value on either side.
    pub(super) fn sides(&self) -> [(&str, &str); 2] {
        let (arm, value) = (self.above.as_ref().unwrap_or(&self.of), self.above_value.as_ref().unwrap_or(&self.value));
        [(&self.of, &self.value), (arm, value)]
    }

    pub(super) fn check(&self, sweep: &Sweep) -> Result<(), (&'static str, String)> {
        let [mine, other] = self.sides();
        for (key, (arm, _)) in [("of", mine), ("above", other)] {
            if !sweep.arms.contains_key(arm) {
                return Err((key, format!("there is no arm {arm:?}")));
            }
        }
        for (key, (_, value)) in [("value", mine), ("above_value", other)] {
            if !sweep.values.contains_key(value) {
                return Err((key, format!("there is no value {value:?}")));
            }
        }
        if mine == other {
            return Err(("above", "nothing is above itself: say `above`, `above_value` or both".to_owned()));
        }
        if !self.by.is_finite() {
            return Err(("by", format!("is {}, and must be a number", self.by)));
        }
        Ok(())
    }

    pub(super) fn verdict(&self, measured: &BTreeMap<String, BTreeMap<String, Vec<f64>>>) -> Verdict {
        let numbers = |(arm, value): (&str, &str)| measured[arm][value].iter().copied();
        let [mine, other] = self.sides();
        let differences: Vec<f64> = numbers(mine).zip(numbers(other)).map(|(a, b)| a - b).collect();
        let found = over_seeds(&differences);
        let difference = found.mean.unwrap_or(f64::NAN);
        let interval = found.standard_error.map(|error| {
            let wide = error * T.get(found.runs.saturating_sub(2)).copied().unwrap_or(1.96);
            (difference - wide, difference + wide)
        });
        let holds = interval.and_then(|(low, high)| match self.by {
            by if low > by => Some(true),
            by if high < by => Some(false),
            _ => None,
        });
        Verdict {
            claim: self.claim.clone(),
            difference,
            standard_error: found.standard_error,
            interval,
            by: self.by,
            holds,
            value: self.value.clone(),
            seeds: found.runs,
        }
    }
}
