use std::path::Path;

use serde_json::Value;
use vr1_run::Document as Yaml;

use super::Recipe;
use crate::{Error, Result};

impl Recipe {
    /// Checks that a run's `config.yaml` says the same.
    ///
    /// # Errors
    /// If the file cannot be read, or a key differs; the first such key is named with both values.
    pub(crate) fn check_same(&self, config: &Path) -> Result<()> {
        let value = |recipe: &Self| serde_json::to_value(recipe).unwrap_or_default();
        let mut theirs: Self = Yaml::read(config, &[])?.parse()?;
        // Which process holds what changes nothing that is learnt.
        theirs.sharding = self.sharding;
        let (mine, theirs) = (value(self), value(&theirs));
        match first_difference(&mine, &theirs) {
            None => Ok(()),
            Some((key, mine, theirs)) => Err(Error::Recipe(format!(
                "a resumed run goes on as it began, but `{key}` is {mine} here and {theirs} in {}",
                config.display()
            ))),
        }
    }
}

/// The dotted name of the first key in which two values differ, and what each has there.
pub(crate) fn first_difference(a: &Value, b: &Value) -> Option<(String, Value, Value)> {
    let join = |key: &str, (below, a, b): (String, Value, Value)| {
        (if below.is_empty() { key.to_owned() } else { format!("{key}.{below}") }, a, b)
    };
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => x.keys().chain(y.keys()).find_map(|key| {
            let side = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
            first_difference(&side(x), &side(y)).map(|found| join(key, found))
        }),
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            let mut pairs = x.iter().zip(y).enumerate();
            pairs.find_map(|(i, (x, y))| first_difference(x, y).map(|found| join(&i.to_string(), found)))
        }
        _ => (a != b).then(|| (String::new(), a.clone(), b.clone())),
    }
}
