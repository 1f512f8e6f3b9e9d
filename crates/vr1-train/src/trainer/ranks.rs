//! A run that several processes make together: the first writes and tells, the others follow it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;
use vr1_learn::World;
use vr1_run::{RunError, Show, fingerprint};

use super::made_of::MadeOf;
use super::saved::Origin;
use super::{RunOptions, Trainer};
use crate::recipe::Recipe;
use crate::{Error, Result};

/// Where a run goes on, as the first rank tells the others.
#[derive(Serialize, Deserialize)]
pub(super) struct Start {
    /// Its folder.
    pub(super) out: PathBuf,
    /// The step whose checkpoint was taken up; 0 where the run begins.
    pub(super) step: u64,
}

/// The options of a rank: those that are given for the first, a folder that nobody looks into and no words for the others.
pub(super) fn aside(options: &RunOptions) -> Result<(RunOptions, Option<TempDir>)> {
    if options.world.is_first() {
        return Ok((options.clone(), None));
    }
    let aside = tempfile::tempdir().map_err(|source| RunError::Io {
        action: "make a folder in",
        path: std::env::temp_dir(),
        source,
    })?;
    let options = RunOptions { out: aside.path().join("run"), show: Show::Quiet, from: None, ..options.clone() };
    Ok((options, Some(aside)))
}

/// Checks that all ranks were given the same recipe, model, data and program.
pub(super) fn check_alike(world: &World, recipe: &Recipe, options: &RunOptions) -> Result<()> {
    let mut facts = MadeOf::now(recipe, Origin::Recipe, options)?.facts();
    let program = std::env::current_exe().ok().and_then(|path| fingerprint(&path).ok());
    facts.insert("the program's file".to_owned(), program.unwrap_or_default());
    let recipe = serde_json::to_value(recipe).map_err(|error| Error::Recipe(error.to_string()))?;
    spell("", &recipe, &mut facts);
    Ok(world.check_alike(&facts)?)
}

/// Every value of a recipe, by the name of its key.
fn spell(key: &str, value: &Value, facts: &mut BTreeMap<String, String>) {
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| spell(&below(name), value, facts)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, value)| spell(&below(&i.to_string()), value, facts))
        }
        value => drop(facts.insert(format!("`{key}` of the recipe"), value.to_string())),
    }
}

/// What a rank came to at the run's start; where that is an error, the others are told, and it says which rank it is.
pub(super) fn begun<T>(world: &World, began: Result<T>) -> Result<T> {
    if world.is_alone() {
        return began;
    }
    began.map_err(|error| {
        world.fail(&error.to_string());
        Error::OfRank { rank: world.rank(), source: Box::new(error) }
    })
}

/// The same at its end, which all come to together.
pub(super) fn together<T>(world: &World, ended: Result<T>) -> Result<T> {
    begun(world, ended.and_then(|ended| Ok(world.leave().map(|()| ended)?)))
}

impl Trainer {
    /// Checks that the weights and the place in the run are the same on all ranks, of which each may have a card.
    pub(super) fn alike(self) -> Result<Self> {
        let world = self.run.world();
        if !world.is_alone() {
            world.use_cards(self.model().device())?;
            let weights = self.run.learner.fingerprint()?;
            let facts = [("the step", self.done.to_string()), ("the hash of the trained weights", weights)];
            world.check_alike(&facts.map(|(name, value)| (name.to_owned(), value)).into())?;
        }
        Ok(self)
    }
}
