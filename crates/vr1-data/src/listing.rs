//! A YAML file that lists files of rows, as VLM-R1, LLaVA-NeXT and Insight-V give their mixtures.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Error, Result, Take};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    datasets: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    json_path: PathBuf,
    #[serde(default)]
    sampling_strategy: Take,
}

/// Whether a path is that of a listing.
pub(crate) fn is_listing(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}

/// The files that are listed and how many of the rows of each are taken; a path that exists relative to the listing is that
/// one, else it is relative to where the program runs.
pub(crate) fn read(path: &Path) -> Result<Vec<(PathBuf, Take)>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let fault = |reason: String| Error::Rows { faults: vec![format!("{}: {reason}", path.display())] };
    let listing: Listing = serde_yaml::from_str(&text).map_err(|e| {
        fault(format!("{e}; files are listed under `datasets`, each with `json_path` and `sampling_strategy`"))
    })?;
    if listing.datasets.is_empty() {
        return Err(fault("datasets: an empty list".to_owned()));
    }
    let beside = path.parent().unwrap_or(Path::new("."));
    let near = |listed: Listed| {
        let own = beside.join(&listed.json_path);
        (if own.exists() { own } else { listed.json_path }, listed.sampling_strategy)
    };
    Ok(listing.datasets.into_iter().map(near).collect())
}
