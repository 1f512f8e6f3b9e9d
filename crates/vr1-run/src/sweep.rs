//! Several recipes, each at several seeds: what is asked of them, what came of it, and whether what was claimed holds.

mod claims;
mod told;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

pub use claims::{Claim, Verdict};
use serde::{Deserialize, Serialize};
use serde_yaml::Value;
pub use values::Measurement;

use crate::{
    compare::Measured,
    yaml::{Document, YamlError},
};

/// What a sweep compares: arms, each run at every seed; numbers read from what each run leaves; and claims about them.
///
/// ```
/// let sweep = vr1_run::Sweep::parse("example", "
/// finding: a larger rate learns more
/// seeds: [1, 2, 3]
/// arms:
///   slow: { recipe: run.yaml }
///   fast: { recipe: run.yaml, set: { optimizer.learning_rate: 1.0e-3 } }
/// values:
///   accuracy: after in_domain/accuracy
/// claims:
///   - { claim: fast is better, value: accuracy, of: fast, above: slow }
/// ")?;
/// assert_eq!(sweep.arms["fast"].overrides()?, ["optimizer.learning_rate=0.001"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// What was found at full size, and what is compared here.
    pub finding: String,
    /// Every arm is run at each of these.
    pub seeds: Vec<u64>,
    /// What is run, by name.
    pub arms: BTreeMap<String, Arm>,
    /// What is read from every run, by name.
    pub values: BTreeMap<String, Measurement>,
    /// What should be true.
    #[serde(default)]
    pub claims: Vec<Claim>,
}

/// A recipe with what is set in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Relative to the sweep's file; none is the recipe of the program that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<PathBuf>,
    /// Other values for keys of the recipe, by dotted key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, Value>,
    /// Further arguments of the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
}

impl Arm {
    /// What is set, as `--set` takes it: `key=value`, the value on one line.
    ///
    /// # Errors
    /// If a value cannot be written on one line.
    pub fn overrides(&self) -> Result<Vec<String>, SweepError> {
        let line = |(key, value): (&String, &Value)| match serde_json::to_string(value) {
            Ok(value) => Ok(format!("{key}={value}")),
            Err(error) => Err(SweepError::Claim(format!("arms: `set.{key}`: {error}"))),
        };
        self.set.iter().map(line).collect()
    }
}

/// Why there is no sweep, or nothing to say of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// The file is not one of a sweep.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// It does not fit together, by the place and the reason.
    #[error("{0}")]
    Claim(String),
    /// A run did not leave what is read.
    #[error("{}: {reason}", path.display())]
    Run {
        /// The file of the run.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Sweep {
    /// Reads a sweep, and checks that its claims speak of its arms and values.
    ///
    /// # Errors
    /// If the file cannot be read, a key is unknown or missing, or a claim names nothing that is there.
    pub fn read(path: &Path) -> Result<Self, SweepError> {
        Self::checked(&Document::read(path, &[])?)
    }

    /// A sweep that is here already; `name` stands in errors where a file would.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(name: &str, text: &str) -> Result<Self, SweepError> {
        Self::checked(&Document::new(name, text, &[])?)
    }

    fn checked(yaml: &Document) -> Result<Self, SweepError> {
        let sweep: Self = yaml.parse()?;
        let fault = |key: &str, reason: String| SweepError::from(yaml.error(key, reason));
        let unique: BTreeSet<u64> = sweep.seeds.iter().copied().collect();
        if sweep.seeds.is_empty() || unique.len() < sweep.seeds.len() {
            return Err(fault("seeds", "at least one, and none twice".to_owned()));
        }
        if sweep.arms.is_empty() {
            return Err(fault("arms", "at least one".to_owned()));
        }
        for name in sweep.arms.keys() {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if name.is_empty() || !name.chars().all(plain) {
                return Err(fault("arms", format!("{name:?} names folders: letters, digits, `_` and `-` alone")));
            }
        }
        for (number, claim) in sweep.claims.iter().enumerate() {
            claim.check(&sweep).map_err(|(key, reason)| fault(&format!("claims.{number}.{key}"), reason))?;
        }
        Ok(sweep)
    }

    /// The folder of an arm's run at a seed, within the sweep's.
    #[must_use]
    pub fn folder(&self, arm: &str, seed: u64) -> PathBuf {
        PathBuf::from(format!("{arm}-{seed}"))
    }

    /// Reads every run of a sweep that is whole.
    ///
    /// # Errors
    /// If a run lacks what is read from it.
    pub fn results(&self, folder: &Path) -> Result<Swept, SweepError> {
        let mut measured: BTreeMap<String, BTreeMap<String, Vec<f64>>> = BTreeMap::new();
        for arm in self.arms.keys() {
            let of_arm = measured.entry(arm.clone()).or_default();
            for &seed in &self.seeds {
                let run = folder.join(self.folder(arm, seed));
                for (name, measurement) in &self.values {
                    // What only some arms have is asked of those that claims ask for it.
                    let value = match measurement.read(&run) {
                        Err(_) if !self.needs(arm, name) => f64::NAN,
                        value => value?,
                    };
                    of_arm.entry(name.clone()).or_default().push(value);
                }
            }
        }
        let verdicts = self.claims.iter().map(|claim| claim.verdict(&measured)).collect();
        Ok(Swept { finding: self.finding.clone(), seeds: self.seeds.clone(), measured, verdicts })
    }

    fn needs(&self, arm: &str, value: &str) -> bool {
        self.claims.iter().any(|claim| claim.sides().contains(&(arm, value)))
    }
}

/// What came of a sweep.
#[derive(Debug, Clone, Serialize)]
pub struct Swept {
    finding: String,
    seeds: Vec<u64>,
    /// By arm and value, in the order of the seeds; NaN where an arm has no such number.
    measured: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    verdicts: Vec<Verdict>,
}

impl Swept {
    /// What became of each claim, in their order.
    #[must_use]
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }
}

/// Mean and standard error of one number over the seeds.
fn over_seeds(values: &[f64]) -> Measured {
    Measured::of(values.iter().copied())
}
