use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use serde_json::Value;

use vr1_processor::optional_json;

use crate::{Error, Result};

/// Whether a model may be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// What the cache lacks is fetched.
    Allowed,
    /// The cache is all there is.
    Offline,
}

/// Where models that are named by a Hub id are found: the cache that all clients of the Hub share, and the Hub.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The cache, with a folder `models--OWNER--NAME` a model.
    pub cache: PathBuf,
    /// Whether what the cache lacks is fetched.
    pub network: Network,
    /// The Hub's address; `None` for the public one.
    pub endpoint: Option<String>,
    /// What private models are asked for with.
    pub token: Option<String>,
}

impl Hub {
    /// The Hub as the environment has it: `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let from_env = Cache::from_env();
        let offline = |value: String| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str());
        Self {
            cache: set("HF_HUB_CACHE").map_or_else(|| from_env.path().clone(), PathBuf::from),
            network: if set("HF_HUB_OFFLINE").is_some_and(offline) { Network::Offline } else { Network::Allowed },
            endpoint: set("HF_ENDPOINT"),
            token: set("HF_TOKEN").or_else(|| from_env.token()),
        }
    }

    /// The directory of a model: `model` itself where it is a directory, else the snapshot of the Hub id
    /// `OWNER/NAME`, or of a branch, tag or commit as `OWNER/NAME@REVISION`.
    ///
    /// A snapshot counts when it has the configuration, a tokenizer, all shards of its safetensors weights and, where
    /// the configuration tells of a vision tower, the settings for images. A whole one is taken from the cache
    /// without asking the Hub; else what is missing is fetched.
    ///
    /// # Errors
    /// When there is no such directory and no such model: what is missing is named, and where it was looked for.
    pub fn resolve(&self, model: &str) -> Result<PathBuf> {
        let path = Path::new(model);
        if path.is_dir() {
            return Ok(path.to_path_buf());
        }
        let wrong = |reason: String| Error::Model { model: model.into(), reason };
        if path.exists() {
            return Err(wrong("it is a file; a model is a directory or a Hub id".into()));
        }
        let Some((id, revision)) = hub_id(model) else {
            return Err(wrong("there is no such directory, and it is not a Hub id (OWNER/NAME)".into()));
        };
        let repo = Repo::with_revision(id.into(), RepoType::Model, revision.into());
        let folder = self.cache.join(repo.folder_name());
        let lacking = |snapshot: Option<&Path>| match snapshot {
            None => format!("nothing of it in the cache ({})", folder.display()),
            Some(snapshot) => format!("{} lacks {}", snapshot.display(), missing(snapshot).join(", ")),
        };
        let cached = snapshot(&folder, revision);
        if let Some(snapshot) = cached.as_deref().filter(|snapshot| missing(snapshot).is_empty()) {
            return Ok(snapshot.to_path_buf());
        }
        if self.network == Network::Offline {
            return Err(wrong(format!("{}, and HF_HUB_OFFLINE forbids fetching it", lacking(cached.as_deref()))));
        }
        if let Err(error) = self.fetch(&repo) {
            return Err(wrong(format!("{}, and fetching it failed: {error}", lacking(cached.as_deref()))));
        }
        let fetched = snapshot(&folder, revision);
        match fetched.as_deref().filter(|snapshot| missing(snapshot).is_empty()) {
            Some(snapshot) => Ok(snapshot.to_path_buf()),
            None => Err(wrong(format!("{} after fetching what the Hub has", lacking(fetched.as_deref())))),
        }
    }

    /// Fetches configuration, tokenizer, templates and safetensors weights; of weights in another format nothing.
    fn fetch(&self, repo: &Repo) -> std::result::Result<(), ApiError> {
        let mut builder = ApiBuilder::from_cache(Cache::new(self.cache.clone())).with_token(self.token.clone());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let api = builder.build()?.repo(repo.clone());
        let files: BTreeSet<String> = api.info()?.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        let sharded = files.contains(INDEX);
        for file in files.iter().filter(|file| !file.contains('/')) {
            let text = [".json", ".jinja", ".txt"].iter().any(|end| file.ends_with(end));
            let weights = file.ends_with(".safetensors")
                && if sharded { file.starts_with("model-") } else { file == "model.safetensors" };
            if text || weights {
                api.get(file)?;
            }
        }
        Ok(())
    }
}

/// The directory of a model; a Hub id is looked up as the environment says ([`Hub::from_env`]).
///
/// # Errors
/// As [`Hub::resolve`].
pub fn resolve(model: &str) -> Result<PathBuf> {
    Hub::from_env().resolve(model)
}

const INDEX: &str = "model.safetensors.index.json";

/// Id and revision, if the words can be a Hub id.
fn hub_id(model: &str) -> Option<(&str, &str)> {
    let (id, revision) = model.split_once('@').unwrap_or((model, "main"));
    let word = |word: &str| {
        !word.is_empty()
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !word.starts_with(['.', '-'])
            && !word.contains("..")
    };
    let fits = id.split('/').count() <= 2 && id.split('/').all(word) && revision.split('/').all(word);
    fits.then_some((id, revision))
}

/// The folder of a revision: a branch or tag goes through `refs/`, a commit is its own name.
fn snapshot(folder: &Path, revision: &str) -> Option<PathBuf> {
    let commit = std::fs::read_to_string(folder.join("refs").join(revision)).unwrap_or_else(|_| revision.into());
    Some(folder.join("snapshots").join(commit.trim())).filter(|snapshot| snapshot.is_dir())
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
