use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use crate::{Error, Result};

/// Whether what is named by a Hub id may be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// What the cache lacks is fetched.
    Allowed,
    /// The cache is all there is.
    Offline,
}

/// What a Hub id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repository {
    /// A checkpoint.
    Model,
    /// A data set.
    Dataset,
}

/// Where what is named by a Hub id is found: the cache that all clients of the Hub share, and the Hub.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The cache, with a folder `models--OWNER--NAME` a model and `datasets--OWNER--NAME` a data set.
    pub cache: PathBuf,
    /// Whether what the cache lacks is fetched.
    pub network: Network,
    /// The Hub's address; `None` for the public one.
    pub endpoint: Option<String>,
    /// What private repositories are asked for with.
    pub token: Option<String>,
}

impl Hub {
    /// The Hub as the environment has it: `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`.
    #[must_use]
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

    /// The snapshot of `OWNER/NAME`, or of a branch, tag or commit as `OWNER/NAME@REVISION`; nothing where the words cannot
    /// be a Hub id.
    ///
    /// One for which `lacks` names nothing is taken from the cache without asking the Hub; else those of its files that
    /// `wanted` picks are fetched.
    ///
    /// # Errors
    /// When it cannot be had: what is missing is named, and where it was looked for.
    pub fn snapshot(
        &self,
        kind: Repository,
        id: &str,
        wanted: impl Fn(&BTreeSet<String>) -> Result<Vec<String>, String>,
        lacks: impl Fn(&Path) -> Vec<String>,
    ) -> Result<Option<PathBuf>> {
        let Some((name, revision)) = hub_id(id) else { return Ok(None) };
        let wrong = |reason: String| Error::Hub { id: id.to_owned(), reason };
        let kind = match kind {
            Repository::Model => RepoType::Model,
            Repository::Dataset => RepoType::Dataset,
        };
        let repo = Repo::with_revision(name.into(), kind, revision.into());
        let folder = self.cache.join(repo.folder_name());
        let lacking = |snapshot: Option<&Path>| match snapshot {
            None => format!("nothing of it in the cache ({})", folder.display()),
            Some(snapshot) => format!("{} lacks {}", snapshot.display(), lacks(snapshot).join(", ")),
        };
        let cached = snapshot(&folder, revision);
        if let Some(snapshot) = cached.as_deref().filter(|snapshot| lacks(snapshot).is_empty()) {
            return Ok(Some(snapshot.to_path_buf()));
        }
        if self.network == Network::Offline {
            return Err(wrong(format!("{}, and HF_HUB_OFFLINE forbids fetching it", lacking(cached.as_deref()))));
        }
        if let Err(reason) = self.fetch(&repo, wanted) {
            return Err(wrong(format!("{}, and fetching it failed: {reason}", lacking(cached.as_deref()))));
        }
        let fetched = snapshot(&folder, revision);
        match fetched.as_deref().filter(|snapshot| lacks(snapshot).is_empty()) {
            Some(snapshot) => Ok(Some(snapshot.to_path_buf())),
            None => Err(wrong(format!("{} after fetching what the Hub has", lacking(fetched.as_deref())))),
        }
    }

    fn fetch(
        &self,
        repo: &Repo,
        wanted: impl Fn(&BTreeSet<String>) -> Result<Vec<String>, String>,
    ) -> Result<(), String> {
        let said = |e: ApiError| e.to_string();
        let mut builder = ApiBuilder::from_cache(Cache::new(self.cache.clone())).with_token(self.token.clone());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let api = builder.build().map_err(said)?.repo(repo.clone());
        let files = api.info().map_err(said)?.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        wanted(&files)?.iter().try_for_each(|file| api.get(file).map(drop)).map_err(said)
    }
}

/// Id and revision, if the words can be a Hub id.
fn hub_id(words: &str) -> Option<(&str, &str)> {
    let (id, revision) = words.split_once('@').unwrap_or((words, "main"));
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
