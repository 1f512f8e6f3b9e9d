use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What a checkpoint says beside weights and optimizer: the file `trainer_state.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progressed {
    pub(crate) step: u64,
    /// The stage under way, from 0, and the steps that were taken before it.
    pub(crate) stage: usize,
    pub(crate) before_stage: u64,
    pub(crate) seconds: f64,
    pub(crate) before: BTreeMap<String, f64>,
    /// The step of the best evaluation, and its score.
    pub(crate) best: Option<(u64, f64)>,
    /// What the reference is, where there is one.
    pub(crate) reference: Option<String>,
    pub(crate) objective: serde_json::Value,
}

const STATE: &str = "trainer_state.json";
/// The folder of the adapter by itself.
pub(crate) const ADAPTER: &str = "adapter";
/// The folder of a reference that is not the model the run began with.
pub(crate) const REFERENCE: &str = "reference";

impl Progressed {
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(STATE);
        let broken = |reason: String| Error::State { path: path.clone(), reason };
        let text = std::fs::read(&path).map_err(|error| broken(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(STATE);
        let broken = |reason: String| Error::State { path: path.clone(), reason };
        let text = serde_json::to_vec_pretty(self).map_err(|error| broken(error.to_string()))?;
        std::fs::write(&path, text).map_err(|error| broken(error.to_string()))
    }
}
