//! Recipes are YAML written by hand, so most faults in them are slips: a mistyped key, a word where a number belongs.
//! Serde alone loses the place of a fault as soon as a tagged enum or a flattened struct buffers its input. Here the
//! fault is found again by asking: a suspect node is exchanged, the document is read once more, and if the complaint
//! moves with the exchange, that node was to blame.

mod blame;
mod error;
mod place;
mod set;

use std::{fs, path::Path};

use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

use error::syntax;
pub use error::{Place, YamlError};
use place::{KeyPath, Part};
use set::Override;

/// Reads a YAML file, applies `key=value` overrides, and deserializes it.
///
/// # Errors
/// See [`Document::read`] and [`Document::parse`].
pub fn load<T: DeserializeOwned>(path: &Path, overrides: &[String]) -> Result<T, YamlError> {
    Document::read(path, overrides)?.parse()
}

/// [`load`] for a text that is already here; `name` stands in errors where a file name would.
///
/// # Errors
/// See [`Document::new`] and [`Document::parse`].
///
/// # Example
/// ```
/// #[derive(serde::Deserialize, Debug)]
/// #[serde(deny_unknown_fields)]
/// struct Recipe { steps: u64 }
/// let recipe: Recipe = vr1_run::from_str("recipe", "steps: 3", &["steps=5".into()])?;
/// assert_eq!(recipe.steps, 5);
/// let error = vr1_run::from_str::<Recipe>("recipe", "stepz: 3", &[]).unwrap_err();
/// assert_eq!(error.to_string(), "recipe:1:1: stepz: unknown key, did you mean `steps`?");
/// # Ok::<(), vr1_run::YamlError>(())
/// ```
pub fn from_str<T: DeserializeOwned>(name: &str, text: &str, overrides: &[String]) -> Result<T, YamlError> {
    Document::new(name, text, overrides)?.parse()
}

/// A YAML text with its overrides applied, kept so that faults found later can still be placed.
#[derive(Debug, Clone)]
pub struct Document {
    name: String,
    text: String,
    value: Value,
    overrides: Vec<Override>,
}

impl Document {
    /// Reads a file and applies overrides.
    ///
    /// # Errors
    /// The file cannot be read, is not YAML, or an override is malformed.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, YamlError> {
        let text = fs::read_to_string(path).map_err(|source| YamlError::Read { path: path.to_owned(), source })?;
        Self::new(&path.display().to_string(), &text, overrides)
    }

    /// Parses a text and applies overrides, each `dotted.key=value` with the value written in YAML; a number in the
    /// dotted key is a position in a list.
    ///
    /// # Errors
    /// The text is not YAML, or an override is malformed or leads through something that has no keys.
    pub fn new(name: &str, text: &str, overrides: &[String]) -> Result<Self, YamlError> {
        let mut value: Value = serde_yaml::from_str(text).map_err(|error| syntax(name, &error))?;
        if value.is_null() {
            value = Value::Mapping(Mapping::new());
        }
        value.apply_merge().map_err(|error| syntax(name, &error))?;
        let overrides = overrides.iter().map(|text| Override::parse(text)).collect::<Result<Vec<_>, _>>()?;
        overrides.iter().try_for_each(|set| set.apply(&mut value))?;
        Ok(Self { name: name.to_owned(), text: text.to_owned(), value, overrides })
    }

    /// Deserializes the document.
    ///
    /// # Errors
    /// An unknown, missing or mistyped key, with its place, its dotted path and, for a misspelling, the nearest right name.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, YamlError> {
        serde_path_to_error::deserialize(self.value.clone()).map_err(|error| {
            let fault = blame::find::<T>(&self.value, &error);
            YamlError::Invalid {
                place: self.place(&fault.key, fault.part),
                key: fault.key.to_string(),
                reason: fault.reason,
            }
        })
    }

    /// An error about the value at a dotted key, for what only a second look finds (`group_size` does not divide …).
    #[must_use]
    pub fn error(&self, key: &str, reason: impl Into<String>) -> YamlError {
        let path = KeyPath::parse(key);
        YamlError::Invalid { place: self.place(&path, Part::Value), key: key.to_owned(), reason: reason.into() }
    }

    /// The override that set `key` wins over the text; failing both, an override further down made it.
    fn place(&self, key: &KeyPath, part: Part) -> Place {
        let by = |test: &dyn Fn(&Override) -> bool| self.overrides.iter().rev().find(|set| test(set));
        if let Some(set) = by(&|set| key.starts_with(&set.key)) {
            return Place::Override(set.text.clone());
        }
        if let Some((line, column)) = place::locate(&self.text, key, part) {
            return Place::Text { name: self.name.clone(), line, column };
        }
        match by(&|set| !key.is_root() && set.key.starts_with(key)) {
            Some(set) => Place::Override(set.text.clone()),
            None => Place::Whole(self.name.clone()),
        }
    }
}
