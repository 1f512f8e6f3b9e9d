//! Which node is to blame for a complaint of serde's, and the complaint in plain words.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use serde_yaml::{Mapping, Value};

use super::place::{KeyPath, Part, key_text};

/// A name and numbers that no recipe holds, put in a suspect's place.
const MARK: &str = "vr1\u{1}mark";
const MARK_NUMBER: u64 = 9_007_199_254_740_881;

pub(super) struct Fault {
    pub(super) key: KeyPath,
    pub(super) part: Part,
    pub(super) reason: String,
}

/// The complaints that serde itself can make, taken apart.
enum Complaint<'m> {
    UnknownKey { name: &'m str, known: Vec<&'m str> },
    UnknownValue { name: &'m str, known: Vec<&'m str> },
    Missing { name: &'m str },
    Mismatch { found: &'m str, expected: &'m str },
    NoForm(&'m str),
    Other,
}

pub(super) fn find<T: DeserializeOwned>(root: &Value, error: &serde_path_to_error::Error<serde_yaml::Error>) -> Fault {
    let message = error.inner().to_string();
    let suspects = Suspects::<T>::new(root, &message);
    let known_path = reported(error.path());
    match Complaint::of(&message) {
        Complaint::UnknownKey { name, known } => {
            let key = suspects.key(name).unwrap_or_else(|| known_path.child(name));
            Fault { key, part: Part::Key, reason: unknown("key", None, name, &known) }
        }
        Complaint::UnknownValue { name, known } => {
            let key = suspects.string(name).or_else(|| suspects.key(name)).unwrap_or(known_path);
            Fault { key, part: Part::Value, reason: unknown("value", Some(name), name, &known) }
        }
        Complaint::Missing { name } => {
            let key = suspects.lacking(name, &known_path).unwrap_or(known_path);
            match suspects.misspelt(name, &key) {
                Some(found) => {
                    let reason = format!("unknown key, did you mean `{name}`?");
                    Fault { key: key.child(found), part: Part::Key, reason }
                }
                None => Fault { key, part: Part::Key, reason: format!("missing key `{name}`") },
            }
        }
        Complaint::Mismatch { found, expected: "field identifier" } => {
            let key = known_path.child(plain_value(found));
            Fault { key, part: Part::Key, reason: "a key here is a name".into() }
        }
        Complaint::Mismatch { found, expected } => {
            let key = suspects.mismatched(found, expected).unwrap_or(known_path);
            let reason = format!("expected {}, found {}", plain_type(expected), plain_value(found));
            Fault { key, part: Part::Value, reason }
        }
        Complaint::NoForm(form) => {
            let reason = format!("its keys and values fit none of the forms of `{form}`");
            Fault { key: known_path, part: Part::Value, reason }
        }
        Complaint::Other => Fault { key: known_path, part: Part::Value, reason: message },
    }
}

impl<'m> Complaint<'m> {
    fn of(message: &'m str) -> Self {
        let named = |prefix: &str| {
            let rest = message.strip_prefix(prefix)?;
            let (name, known) = rest.rsplit_once("`, expected ").or_else(|| rest.rsplit_once("`, there are no "))?;
            Some((name, known.split('`').skip(1).step_by(2).collect::<Vec<_>>()))
        };
        if let Some((name, known)) = named("unknown field `") {
            return Self::UnknownKey { name, known };
        }
        // Left over beside a flattened struct: serde then has no list of what was known.
        if let Some(name) = message.strip_prefix("unknown field `").and_then(|rest| rest.strip_suffix('`')) {
            return Self::UnknownKey { name, known: Vec::new() };
        }
        if let Some((name, known)) = named("unknown variant `") {
            return Self::UnknownValue { name, known };
        }
        if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            return Self::Missing { name };
        }
        if let Some(form) = message.strip_prefix("data did not match any variant of untagged enum ") {
            return Self::NoForm(form);
        }
        let mismatch = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
        match mismatch.and_then(|rest| rest.rsplit_once(", expected ")) {
            Some((found, expected)) => Self::Mismatch { found, expected },
            None => Self::Other,
        }
    }
}

/// The nodes of a document, and the question put to each: does the complaint change when you do?
struct Suspects<'v, T> {
    root: &'v Value,
    message: &'v str,
    nodes: Vec<(KeyPath, &'v Value)>,
    target: std::marker::PhantomData<T>,
}

impl<'v, T: DeserializeOwned> Suspects<'v, T> {
    fn new(root: &'v Value, message: &'v str) -> Self {
        let mut nodes = vec![(KeyPath::default(), root)];
        let mut next = 0;
        while let Some((path, node)) = nodes.get(next).cloned() {
            match node {
                Value::Mapping(map) => {
                    nodes.extend(map.iter().filter_map(|(key, value)| Some((path.child(key_text(key)?), value))));
                }
                Value::Sequence(list) => {
                    nodes.extend(list.iter().enumerate().map(|(index, value)| (path.child(index.to_string()), value)));
                }
                _ => {}
            }
            next += 1;
        }
        Self { root, message, nodes, target: std::marker::PhantomData }
    }

    /// What is said of the document when the node at `path` is changed; `None` when all is well then.
    fn ask(&self, path: &KeyPath, change: impl FnOnce(&mut Value)) -> Option<String> {
        let mut root = self.root.clone();
        if let Some(node) = path.get_mut(&mut root) {
            change(node);
        }
        serde_yaml::from_value::<T>(root).err().map(|error| error.to_string())
    }

    /// The complaint as it would be made of the mark instead of `name`; what was expected follows it, unchanged.
    fn said_of_mark(&self, name: &str) -> String {
        self.message.replacen(&format!("`{name}`"), &format!("`{MARK}`"), 1)
    }

    fn string(&self, text: &str) -> Option<KeyPath> {
        let named = Some(self.said_of_mark(text));
        let mut holders = self.nodes.iter().filter(|(_, node)| node.as_str() == Some(text));
        holders.find(|(path, _)| self.ask(path, |node| *node = MARK.into()) == named).map(|(path, _)| path.clone())
    }

    fn key(&self, name: &str) -> Option<KeyPath> {
        let named = Some(self.said_of_mark(name));
        let renamed = |path: &KeyPath| {
            let (parent, last) = path.split_last()?;
            (last == name).then_some(())?;
            Some(self.ask(&parent, |node| rename(node, name, MARK)))
        };
        self.nodes
            .iter()
            .find(|(path, _)| renamed(path).is_some_and(|said| said == named))
            .map(|(path, _)| path.clone())
    }

    /// A mapping lacks `name` when giving it that key, and not just any key, changes the complaint.
    fn lacking(&self, name: &str, within: &KeyPath) -> Option<KeyPath> {
        let given = |path: &KeyPath, key: &str| {
            let said = self.ask(path, |node| {
                if let Value::Mapping(map) = node {
                    map.insert(key.into(), Value::Null);
                }
            });
            said.map(|said| said.replace(MARK, name))
        };
        let lacks = |path: &KeyPath| {
            let with = given(path, name);
            with.as_deref() != Some(self.message) && with != given(path, MARK)
        };
        let mut mappings = self.nodes.iter().filter(|(path, node)| {
            path.starts_with(within) && node.as_mapping().is_some_and(|map| !map.contains_key(name))
        });
        mappings.find(|(path, _)| lacks(path)).map(|(path, _)| path.clone())
    }

    /// A key of the mapping at `path` that means `name`: its value is of no account, but spelt so it would be. Where
    /// unknown keys are let pass (beside a flattened struct), a slip shows only as the lack of the right one.
    fn misspelt(&self, name: &str, path: &KeyPath) -> Option<String> {
        let (_, node) = self.nodes.iter().find(|(at, _)| at == path)?;
        let keys: Vec<String> = node.as_mapping()?.keys().filter_map(key_text).collect();
        let near = nearest(name, &keys.iter().map(String::as_str).collect::<Vec<_>>())?;
        let idle = self.ask(&path.child(near), |value| *value = Value::Mapping(Mapping::new()));
        let spelt = self.ask(path, |node| rename(node, near, name));
        (idle.as_deref() == Some(self.message) && spelt.as_deref() != Some(self.message)).then(|| near.to_owned())
    }

    fn mismatched(&self, found: &str, expected: &str) -> Option<KeyPath> {
        let blamed = |(path, node): &&(KeyPath, &Value)| {
            let (mark, mark_text) = exchange(node);
            match self.ask(path, |node| *node = mark) {
                Some(said) => said.ends_with(&format!("{mark_text}, expected {expected}")),
                // Null where a list or mapping stood may be welcome.
                None => matches!(node, Value::Sequence(_) | Value::Mapping(_) | Value::Null),
            }
        };
        self.nodes.iter().rev().filter(|(_, node)| unexpected(node) == found).find(blamed).map(|(path, _)| path.clone())
    }
}

/// Keeps the order: the first fault in a document is the one reported.
fn rename(node: &mut Value, name: &str, new: &str) {
    if let Value::Mapping(map) = node {
        let entries = std::mem::take(map).into_iter();
        let renamed = |key: Value| if key_text(&key).as_deref() == Some(name) { new.into() } else { key };
        *map = entries.map(|(key, value)| (renamed(key), value)).collect::<Mapping>();
    }
}

/// A value of the same kind to put in the place of this one, and serde's words for it.
fn exchange(node: &Value) -> (Value, String) {
    let mark: Value = match node {
        Value::Bool(value) => (!value).into(),
        Value::Number(number) if number.is_u64() => MARK_NUMBER.into(),
        // Minus and one less: it stays in the range that was complained of.
        Value::Number(number) if number.is_i64() => (-(MARK_NUMBER as i64)).into(),
        Value::Number(_) => 9.007_199_25e300.into(),
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => Value::Null,
        Value::Null | Value::String(_) => MARK.into(),
    };
    let text = unexpected(&mark);
    (mark, text)
}

/// Serde's words for a value that was not expected.
fn unexpected(node: &Value) -> String {
    use serde::de::Unexpected;
    match node {
        Value::Null => Unexpected::Unit.to_string(),
        Value::Bool(value) => Unexpected::Bool(*value).to_string(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => Unexpected::Unsigned(value).to_string(),
            (None, Some(value)) => Unexpected::Signed(value).to_string(),
            (None, None) => Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)).to_string(),
        },
        Value::String(text) => Unexpected::Str(text).to_string(),
        Value::Sequence(_) => Unexpected::Seq.to_string(),
        Value::Mapping(_) => Unexpected::Map.to_string(),
        Value::Tagged(_) => Unexpected::Enum.to_string(),
    }
}

/// As far as the way was known when the error was made.
fn reported(path: &serde_path_to_error::Path) -> KeyPath {
    let mut key = KeyPath::default();
    for segment in path.iter() {
        key = match segment {
            Segment::Seq { index } => key.child(index.to_string()),
            Segment::Map { key: name } => key.child(name),
            Segment::Enum { .. } => key,
            Segment::Unknown => break,
        };
    }
    key
}

fn unknown(what: &str, shown: Option<&str>, name: &str, known: &[&str]) -> String {
    let shown = shown.map(|shown| format!(" `{shown}`")).unwrap_or_default();
    match nearest(name, known) {
        Some(near) => format!("unknown {what}{shown}, did you mean `{near}`?"),
        None if known.is_empty() => format!("unknown {what}{shown}"),
        None => format!("unknown {what}{shown}, expected one of: {}", known.join(", ")),
    }
}

/// The known name most like this one, if any is like it: at most half of the letters may differ.
fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let score = |near: &str| strsim::normalized_damerau_levenshtein(&plain(name), &plain(near));
    let best = known.iter().copied().max_by(|a, b| score(a).total_cmp(&score(b)))?;
    (score(best) >= 0.5).then_some(best)
}

fn plain_type(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" | "a nonzero u64" | "a nonzero usize" => "an integer, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer",
        "f32" | "f64" => "a number",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "a mapping of keys to values",
        "a boolean" => "true or false",
        other => other.strip_prefix("internally tagged enum ").map_or(other, |_| "a mapping with its tag"),
    }
}

fn plain_value(found: &str) -> &str {
    match found {
        "sequence" => "a list",
        "map" => "a mapping",
        "unit value" => "nothing",
        other => other.split_once(' ').map_or(other, |(kind, value)| match kind {
            "integer" | "boolean" => value.trim_matches('`'),
            "floating" => value.trim_start_matches("point ").trim_matches('`'),
            "string" => value,
            _ => other,
        }),
    }
}
