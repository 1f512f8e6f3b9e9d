//! What a page has to know of a run's recipe. Only the training crate knows recipes; here a few keys are looked up.

use std::{fs, path::Path};

use serde::Serialize;
use serde_yaml::Value;

use crate::{run::CONFIG, run_error::RunError};

/// A run's `config.yaml`.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) text: String,
    pub(crate) yaml: Value,
}

/// What counts as right: a term above a threshold.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Judge {
    pub(crate) metric: String,
    pub(crate) threshold: f64,
}

impl Judge {
    /// Whether an answer with these terms is right; none where the one that says so is missing.
    pub(crate) fn right(&self, terms: &serde_json::Map<String, serde_json::Value>) -> Option<bool> {
        terms.get(&self.metric)?.as_f64().map(|value| value > self.threshold)
    }
}

/// The reward program.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Reward {
    total: String,
    /// Name and expression of its terms, and of what it only measures.
    terms: Vec<(String, String)>,
    /// The whole of it, as the recipe has it.
    yaml: String,
}

impl Settings {
    /// Those of a run.
    ///
    /// # Errors
    /// The folder holds no run, or its `config.yaml` is no YAML.
    pub(crate) fn read(run_dir: &Path) -> Result<Self, RunError> {
        let path = run_dir.join(CONFIG);
        if !path.is_file() {
            return Err(RunError::NoRun(run_dir.to_owned()));
        }
        let text = fs::read_to_string(&path).map_err(RunError::io("read", &path))?;
        let yaml = serde_yaml::from_str(&text).map_err(|error| RunError::Broken {
            path,
            line: error.location().map_or(1, |place| place.line()),
            reason: format!("not a recipe: {error}"),
        })?;
        Ok(Self { text, yaml })
    }

    fn get(&self, keys: &[&str]) -> Option<&Value> {
        keys.iter().try_fold(&self.yaml, |value, key| value.get(*key))
    }

    /// A setting as a word.
    pub(crate) fn word(&self, keys: &[&str]) -> Option<String> {
        self.get(keys).and_then(scalar)
    }

    fn stages(&self) -> &[Value] {
        self.get(&["stages"]).and_then(Value::as_sequence).map_or(&[], Vec::as_slice)
    }

    /// Steps of the whole run, all stages together.
    pub(crate) fn steps(&self) -> Option<u64> {
        let steps = |value: &Value| value.get("steps").and_then(Value::as_u64);
        match self.stages() {
            [] => steps(&self.yaml),
            stages => stages.iter().map(steps).sum(),
        }
    }

    /// What its objectives are called.
    pub(crate) fn objectives(&self) -> String {
        let stages = self.stages().iter().chain(std::iter::once(&self.yaml));
        let kind = |stage: &Value| stage.get("objective")?.get("kind").and_then(scalar);
        stages.filter_map(kind).map(|kind| kind.to_uppercase()).collect::<Vec<_>>().join(", then ")
    }

    /// By what an answer is right.
    pub(crate) fn judge(&self) -> Judge {
        let stage = self.stages().iter().find_map(|stage| stage.get("evaluation"));
        let evaluation = self.get(&["evaluation"]).or(stage);
        let get = |key: &str| evaluation.and_then(|evaluation| evaluation.get(key));
        Judge {
            metric: get("metric").and_then(Value::as_str).unwrap_or("accuracy").to_owned(),
            threshold: get("threshold").and_then(Value::as_f64).unwrap_or(0.5),
        }
    }

    pub(crate) fn reward(&self) -> Option<Reward> {
        let reward = self.get(&["reward"]).filter(|reward| !reward.is_null())?;
        let expression = |value: &Value| scalar(value).unwrap_or_else(|| yaml(value).trim_end().to_owned());
        let named = ["terms", "metrics"].iter().filter_map(|key| reward.get(*key)?.as_mapping());
        let terms = named.flatten().map(|(name, value)| (expression(name), expression(value)));
        Some(Reward {
            total: reward.get("total").map(expression).unwrap_or_default(),
            terms: terms.collect(),
            yaml: yaml(reward),
        })
    }
}

/// A plain value as a recipe writes it.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null => Some("null".into()),
        _ => None,
    }
}

fn yaml(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap_or_default()
}
