use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vr1_data::{Hub, Repository};
use vr1_processor::optional_json;

use crate::{Error, Result};

/// The directory of a model: `model` itself where it is a directory, else the snapshot of the Hub id
/// `OWNER/NAME`, or of a branch, tag or commit as `OWNER/NAME@REVISION`.
///
/// A snapshot counts when it has the configuration, a tokenizer, all shards of its safetensors weights and, where
/// the configuration tells of a vision tower, the settings for images. A whole one is taken from the cache
/// without asking the Hub; else what is missing is fetched.
///
/// # Errors
/// When there is no such directory and no such model: what is missing is named, and where it was looked for.
pub fn resolve_from(hub: &Hub, model: &str) -> Result<PathBuf> {
    let path = Path::new(model);
    if path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let wrong = |reason: String| Error::Model { model: model.into(), reason };
    if path.exists() {
        return Err(wrong("it is a file; a model is a directory or a Hub id".into()));
    }
    match hub.snapshot(Repository::Model, model, |files| Ok(wanted(files)), missing) {
        Ok(Some(snapshot)) => Ok(snapshot),
        Ok(None) => Err(wrong("there is no such directory, and it is not a Hub id (OWNER/NAME)".into())),
        Err(vr1_data::Error::Hub { reason, .. }) => Err(wrong(reason)),
        Err(other) => Err(wrong(other.to_string())),
    }
}

/// The directory of a model; a Hub id is looked up as the environment says ([`Hub::from_env`]).
///
/// # Errors
/// As [`resolve_from`].
pub fn resolve(model: &str) -> Result<PathBuf> {
    resolve_from(&Hub::from_env(), model)
}

const INDEX: &str = "model.safetensors.index.json";

/// Configuration, tokenizer, templates and safetensors weights; of weights in another format nothing.
fn wanted(files: &BTreeSet<String>) -> Vec<String> {
    let sharded = files.contains(INDEX);
    let is_wanted = |file: &&String| {
        let text = [".json", ".jinja", ".txt"].iter().any(|end| file.ends_with(end));
        let weights = file.ends_with(".safetensors")
            && if sharded { file.starts_with("model-") } else { file.as_str() == "model.safetensors" };
        !file.contains('/') && (text || weights)
    };
    files.iter().filter(is_wanted).cloned().collect()
}

/// What a checkpoint directory lacks to be a model.
fn missing(dir: &Path) -> Vec<String> {
    let mut lacks = Vec::new();
    let mut want = |names: &[&str]| {
        if !names.iter().any(|name| dir.join(name).is_file()) {
            lacks.push(names.join(" or "));
        }
    };
    want(&["config.json"]);
    want(&["tokenizer.json"]);
    // A file that is there but broken is not missing: reading it later says what is wrong with it.
    if optional_json(&dir.join("config.json")).is_ok_and(|config| config.contains_key("vision_config")) {
        want(&["preprocessor_config.json", "processor_config.json"]);
    }
    match optional_json(&dir.join(INDEX)).ok().filter(|index| !index.is_empty()) {
        None => want(&["model.safetensors", INDEX]),
        Some(index) => {
            let shards = index.get("weight_map").and_then(Value::as_object);
            let shards: BTreeSet<&str> =
                shards.into_iter().flat_map(|map| map.values()).filter_map(Value::as_str).collect();
            shards.into_iter().for_each(|shard| want(&[shard]));
        }
    }
    lacks
}
