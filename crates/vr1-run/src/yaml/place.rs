//! From a dotted key to a line and column. The parser reports places only with its errors, so a reader walks down to
//! the key and fails there on purpose.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_yaml::Value;

/// The way from the root to a node: mapping keys and list positions, all as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeyPath(Vec<String>);

/// Which half of `key: value` is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

impl KeyPath {
    pub(super) fn parse(dotted: &str) -> Self {
        Self(dotted.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    pub(super) fn child(&self, part: impl Into<String>) -> Self {
        Self(self.0.iter().cloned().chain([part.into()]).collect())
    }

    pub(super) fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn parts(&self) -> &[String] {
        &self.0
    }

    pub(super) fn split_last(&self) -> Option<(Self, &str)> {
        self.0.split_last().map(|(last, init)| (Self(init.to_vec()), last.as_str()))
    }

    pub(super) fn get_mut<'v>(&self, root: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(root, |node, part| step(node, part))
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// One step down, by key or by position.
pub(super) fn step<'v>(node: &'v mut Value, part: &str) -> Option<&'v mut Value> {
    match node {
        Value::Mapping(map) => map.iter_mut().find(|(key, _)| key_text(key).as_deref() == Some(part)).map(|(_, v)| v),
        Value::Sequence(list) => list.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    }
}

/// A scalar key as text; the other kinds cannot be addressed.
pub(super) fn key_text(key: &Value) -> Option<String> {
    match key {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Line and column, from 1, of a key or its value in a YAML text; `None` where the text does not hold it.
pub(super) fn locate(text: &str, path: &KeyPath, part: Part) -> Option<(usize, usize)> {
    if path.is_root() {
        return Some((1, 1));
    }
    let walk = Walk { left: path.parts(), part };
    let error = walk.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.to_string().contains(FOUND).then_some(())?;
    error.location().map(|at| (at.line(), at.column()))
}

const FOUND: &str = "\u{1}here\u{1}";

#[derive(Clone, Copy)]
struct Walk<'p> {
    left: &'p [String],
    part: Part,
}

/// A mapping key; fails where it is the one looked for and the key itself is meant.
struct Key<'p>(Walk<'p>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        // Asking for a string makes the parser accept any scalar as it stands.
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        let Walk { left, part } = self.0;
        let same = left.first().is_some_and(|wanted| wanted == key);
        if same && left.len() == 1 && part == Part::Key { Err(E::custom(FOUND)) } else { Ok(same) }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Said when a scalar is met: it is what was looked for only when nothing of the path is left.
        f.write_str(if self.left.is_empty() { FOUND } else { "more keys" })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.left.is_empty() {
            return Err(A::Error::custom(FOUND));
        }
        while let Some(same) = map.next_key_seed(Key(self))? {
            if same {
                return map.next_value_seed(Self { left: &self.left[1..], ..self });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Err(A::Error::custom("no such key"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((wanted, left)) = self.left.split_first() else { return Err(A::Error::custom(FOUND)) };
        let wanted: usize = wanted.parse().map_err(A::Error::custom)?;
        for _ in 0..wanted {
            list.next_element::<IgnoredAny>()?;
        }
        match list.next_element_seed(Self { left, ..self })? {
            Some(()) => Ok(()),
            None => Err(A::Error::custom("list too short")),
        }
    }
}
