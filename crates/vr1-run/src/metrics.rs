//! The numbers of a run: a row for each step, and a summary of the whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::run_error::RunError;

/// One line of `metrics.jsonl`: the step, and numbers by name.
///
/// The names are the field's, and anything else may stand beside them:
///
/// | name | meaning |
/// |---|---|
/// | `reward`, `reward_std` | mean over the step's completions; mean over its groups of the standard deviation within the group |
/// | `rewards/<term>` | mean of one term of the reward |
/// | `completion_length` | mean number of sampled tokens |
/// | `kl` | mean estimated divergence from the reference policy, nats a token |
/// | `loss`, `grad_norm`, `learning_rate` | of the update |
/// | `clip_ratio` | share of tokens whose importance ratio was clipped |
/// | `entropy` | mean entropy of the sampling distribution, nats a token |
/// | `tokens_per_second`, `seconds` | sampled tokens over the step's wall time; that time |
///
/// A number that is not finite is written as `null`, for JSON has no other way, and read back as NaN.
///
/// # Example
/// ```
/// let metrics = vr1_run::StepMetrics::new(3).with("reward", 0.5).with("kl", f64::NAN);
/// assert_eq!(serde_json::to_string(&metrics)?, r#"{"step":3,"kl":null,"reward":0.5}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// The step, from 1.
    pub step: u64,
    /// The numbers.
    #[serde(flatten, deserialize_with = "nullable")]
    pub values: BTreeMap<String, f64>,
}

fn nullable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let values = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN))).collect())
}

impl StepMetrics {
    /// A row without numbers.
    #[must_use]
    pub fn new(step: u64) -> Self {
        Self { step, values: BTreeMap::new() }
    }

    /// The row with one more number.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.set(name, value);
        self
    }

    /// Sets a number.
    pub fn set(&mut self, name: &str, value: f64) {
        self.values.insert(name.to_owned(), value);
    }

    /// A number by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }
}

/// `summary.json`: a run's scores on held-out samples before and after training, and what it took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Scores before the first step, by name: `in_domain/accuracy`, `out_of_domain/accuracy`, …, and `accuracy`, which is
    /// that of the first set.
    pub before: BTreeMap<String, f64>,
    /// The same scores after the last step.
    pub after: BTreeMap<String, f64>,
    /// What each stage came to, where there are several; the last came to what `after` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageScores>,
    /// Steps taken.
    pub steps: u64,
    /// Wall time of the run.
    pub seconds: f64,
    /// Why it ended before its last step, where its own rules ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// What else a person should know of it: steps that taught nothing, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A stage of a run that is over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageScores {
    /// What it is called.
    pub name: String,
    /// Steps taken in it.
    pub steps: u64,
    /// Its scores on held-out samples after its last step, by name.
    pub scores: BTreeMap<String, f64>,
}

impl Summary {
    /// The scores' names, each once; without `accuracy` where it repeats a set's own (`in_domain/accuracy`).
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        let mut names: BTreeSet<&str> = self.before.keys().chain(self.after.keys()).map(String::as_str).collect();
        if names.iter().any(|name| name.ends_with("/accuracy")) {
            names.remove("accuracy");
        }
        names
    }
}

/// The rows of a `metrics.jsonl`, none if the file is not there yet. A last line cut short by a kill is passed over.
///
/// # Errors
/// The file cannot be read, or a line before the last is not a row of metrics.
pub fn read_metrics(path: &Path) -> Result<Vec<StepMetrics>, RunError> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RunError::io("read", path)(error)),
    };
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let row = |(index, line)| {
        serde_json::from_str(line).map_err(|error| RunError::Broken {
            path: path.to_owned(),
            line: index + 1,
            reason: format!("not a row of metrics: {error}"),
        })
    };
    whole.lines().enumerate().map(row).collect()
}

/// A `summary.json`, none if the run was not finished.
pub(crate) fn read_summary(path: &Path) -> Result<Option<Summary>, RunError> {
    read_json(path, "not a summary")
}

/// What a file of JSON says, none if it is not there; `wrong` is what it is called where it says something else.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, wrong: &str) -> Result<Option<T>, RunError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(RunError::io("read", path))?,
    };
    let broken = |error: serde_json::Error| {
        let reason = format!("{wrong}: {error}");
        RunError::Broken { path: path.to_owned(), line: error.line(), reason }
    };
    serde_json::from_slice(&bytes).map(Some).map_err(broken)
}
