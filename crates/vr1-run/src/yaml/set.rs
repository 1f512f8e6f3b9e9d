//! `--set a.b=c`: one value of a document exchanged from outside.

use serde_yaml::{Mapping, Value};

use super::{
    error::{YamlError, bare},
    place::{KeyPath, key_text, step},
};

#[derive(Debug, Clone)]
pub(super) struct Override {
    pub(super) text: String,
    pub(super) key: KeyPath,
    value: Value,
}

impl Override {
    pub(super) fn parse(text: &str) -> Result<Self, YamlError> {
        let fail = |reason: String| YamlError::Override { text: text.to_owned(), reason };
        let (key, value) = text.split_once('=').ok_or_else(|| fail("expected key=value".into()))?;
        if key.split('.').any(|part| part.trim().is_empty()) {
            return Err(fail(format!("`{key}` is no dotted key")));
        }
        let value =
            serde_yaml::from_str(value).map_err(|error| fail(format!("the value is not YAML: {}", bare(&error))))?;
        Ok(Self { text: text.to_owned(), key: KeyPath::parse(key), value })
    }

    /// Sets the value; mappings on the way are made where nothing stands yet.
    pub(super) fn apply(&self, root: &mut Value) -> Result<(), YamlError> {
        let mut node = root;
        let mut at = KeyPath::default();
        for part in self.key.parts() {
            node = self.enter(node, &at, part)?;
            at = at.child(part);
        }
        *node = self.value.clone();
        Ok(())
    }

    fn enter<'v>(&self, node: &'v mut Value, at: &KeyPath, part: &str) -> Result<&'v mut Value, YamlError> {
        let fail = |reason: String| YamlError::Override { text: self.text.clone(), reason };
        if node.is_null() {
            *node = Value::Mapping(Mapping::new());
        }
        match node {
            Value::Mapping(map) => {
                let key = Value::from(part);
                let known = map.keys().find(|known| key_text(known).as_deref() == Some(part)).cloned();
                Ok(map.entry(known.unwrap_or(key)).or_insert(Value::Null))
            }
            Value::Sequence(list) => {
                let len = list.len();
                step(node, part)
                    .ok_or_else(|| fail(format!("`{at}` is a list of {len}, and `{part}` is no position in it")))
            }
            _ => Err(fail(format!("`{at}` holds a single value, so it has no `{part}`"))),
        }
    }
}
