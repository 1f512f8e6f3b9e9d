use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use vr1_run::fingerprint;

use super::RunOptions;
use super::saved::Origin;
use crate::recipe::Recipe;
use crate::{Error, Result};

/// What a run is made of beside its recipe, each by a name and what it is known again by: this program, what it computes with, the files of the model that the
/// recipe names (which is what references begin with), and those that rows are read from.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct MadeOf(BTreeMap<String, String>);

/// What a run went on with that it was not begun with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    /// Steps that had been taken.
    pub(super) after_step: u64,
    /// What is another.
    pub(super) changed: Vec<String>,
}

/// What is told with its value: which program, and what it computes with.
const PROGRAM: &str = "the program";
const NUMBERS: &str = "the kind of number";
/// Ends of the names of files that make a model.
const OF_A_MODEL: [&str; 4] = ["safetensors", "json", "jinja", "txt"];

impl MadeOf {
    /// What a run of `recipe` is made of on this machine, now.
    pub(super) fn now(recipe: &Recipe, origin: Origin, options: &RunOptions) -> Result<Self> {
        let device = if options.device.is_cuda() { "CUDA" } else { "CPU" };
        let mut parts = BTreeMap::from([
            (PROGRAM.to_owned(), format!("vr1 {}", env!("CARGO_PKG_VERSION"))),
            (NUMBERS.to_owned(), format!("{:?} on {device}", options.kind)),
        ]);
        if origin == Origin::Recipe {
            let dir = vr1_vlm::resolve(&recipe.model)?;
            for file in model_files(&dir)? {
                let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                parts.insert(format!("{name} of the model {}", recipe.model), fingerprint(&file)?);
            }
        }
        // What cannot be read is told by who reads it.
        for file in recipe.rows_files()?.into_iter().filter(|file| file.is_file()) {
            parts.insert(format!("the rows of {}", file.display()), fingerprint(&file)?);
        }
        Ok(Self(parts))
    }

    /// All of it, by name.
    pub(super) fn facts(self) -> BTreeMap<String, String> {
        self.0
    }

    /// What is another in `now`, by name. A run of before such things were written down is held to nothing.
    pub(super) fn changed(&self, now: &Self) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let names: BTreeSet<&String> = self.0.keys().chain(now.0.keys()).collect();
        let told = |name: &&String| match (self.0.get(*name), now.0.get(*name)) {
            (Some(before), Some(now)) if before == now => None,
            (Some(before), Some(now)) if [PROGRAM, NUMBERS].contains(&name.as_str()) => {
                Some(format!("{name} was {before}, and is {now}"))
            }
            (Some(_), Some(_)) => Some(format!("{name}: not what it was")),
            (Some(_), None) => Some(format!("{name}: gone")),
            // A run of before this was written down.
            (None, _) if name.as_str() == NUMBERS => None,
            (None, _) => Some(format!("{name}: not there when the run began")),
        };
        names.iter().filter_map(told).collect()
    }
}

fn model_files(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    let broken = |error: std::io::Error| Error::State { path: dir.to_owned(), reason: error.to_string() };
    let entries = std::fs::read_dir(dir).map_err(broken)?;
    let paths = entries.map(|entry| Ok(entry.map_err(broken)?.path())).collect::<Result<Vec<_>>>()?;
    let of_it = |path: &std::path::PathBuf| {
        path.is_file() && path.extension().is_some_and(|end| OF_A_MODEL.iter().any(|known| end == *known))
    };
    Ok(paths.into_iter().filter(of_it).collect())
}
