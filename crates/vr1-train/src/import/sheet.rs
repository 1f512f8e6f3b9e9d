use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::ImportOptions;
use super::draft::Draft;
use super::fate::{Fate, Finding};
use super::said::Said;

/// What is found of a configuration, key by key, and the recipe that comes of it.
pub(super) struct Sheet<'a> {
    pub(super) said: &'a Said,
    pub(super) options: &'a ImportOptions,
    pub(super) draft: Draft,
    findings: Vec<Finding>,
    /// What the system takes for keys that are not said.
    defaults: BTreeMap<String, Value>,
    /// Keys that were looked for.
    known: RefCell<BTreeSet<String>>,
}

/// What a value is read as, or why it cannot be.
pub(super) type Read<T> = Result<T, String>;

/// What becomes of a key that has no counterpart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rest {
    /// It matters where it is another value than this, in JSON.
    Off(&'static str, &'static str),
    /// It does not matter.
    Idle(&'static str),
}

impl<'a> Sheet<'a> {
    pub(super) fn new(said: &'a Said, options: &'a ImportOptions) -> Self {
        let (draft, findings, defaults) = (Draft::default(), Vec::new(), BTreeMap::new());
        Self { said, options, draft, findings, defaults, known: RefCell::default() }
    }

    /// What is said under `key`, if anything is.
    pub(super) fn said(&self, key: &str) -> Option<&'a Value> {
        self.known.borrow_mut().insert(key.to_owned());
        self.said.values.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn or(&mut self, key: &str, default: impl Into<Value>) -> Value {
        let default = default.into();
        self.defaults.insert(key.to_owned(), default.clone());
        self.said(key).cloned().unwrap_or(default)
    }

    pub(super) fn number(&mut self, key: &str, default: f64) -> Read<f64> {
        let value = self.or(key, default);
        number(&value).ok_or_else(|| format!("{key}: {value} is no number"))
    }

    pub(super) fn maybe_number(&mut self, key: &str) -> Read<Option<f64>> {
        self.said(key).map(|value| number(value).ok_or_else(|| format!("{key}: {value} is no number"))).transpose()
    }

    pub(super) fn count(&mut self, key: &str, default: u64) -> Read<u64> {
        let value = self.or(key, default);
        whole(&value).ok_or_else(|| format!("{key}: {value} is no whole number of 0 or more"))
    }

    pub(super) fn maybe_count(&mut self, key: &str) -> Read<Option<u64>> {
        let read =
            |value: &Value| whole(value).ok_or_else(|| format!("{key}: {value} is no whole number of 0 or more"));
        // Some say −1 for none.
        self.said(key).filter(|value| number(value).is_none_or(|number| number >= 0.0)).map(read).transpose()
    }

    pub(super) fn flag(&mut self, key: &str, default: bool) -> Read<bool> {
        match self.or(key, default) {
            Value::Bool(value) => Ok(value),
            value => Err(format!("{key}: {value} is neither true nor false")),
        }
    }

    pub(super) fn text(&mut self, key: &str, default: &str) -> Read<String> {
        match self.or(key, default) {
            Value::String(text) => Ok(text),
            value @ (Value::Number(_) | Value::Bool(_)) => Ok(value.to_string()),
            value => Err(format!("{key}: {value} is no text")),
        }
    }

    pub(super) fn maybe_text(&mut self, key: &str) -> Read<Option<String>> {
        if self.said(key).is_some() { self.text(key, "").map(Some) } else { Ok(None) }
    }

    /// What is said under `key`, in a list or by itself.
    pub(super) fn list(&self, key: &str) -> Vec<Value> {
        match self.said(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items.clone(),
            Some(item) => vec![item.clone()],
        }
    }

    /// Nothing is what the system takes where `key` is not said.
    pub(super) fn or_null(&mut self, key: &str) {
        self.defaults.insert(key.to_owned(), Value::Null);
    }

    pub(super) fn carry_number(&mut self, key: &str, default: f64, to: &str) -> Read<f64> {
        let value = self.number(key, default)?;
        self.draft.set(to, value);
        self.taken(key, to);
        Ok(value)
    }

    pub(super) fn carry_count(&mut self, key: &str, default: u64, to: &str) -> Read<u64> {
        let value = self.count(key, default)?;
        self.draft.set(to, value);
        self.taken(key, to);
        Ok(value)
    }

    pub(super) fn taken(&mut self, key: &str, to: &str) {
        self.found(key, Fate::Taken { to: to.to_owned(), how: None, but: None });
    }

    pub(super) fn taken_as(&mut self, key: &str, to: &str, how: &str) {
        self.found(key, Fate::Taken { to: to.to_owned(), how: Some(how.to_owned()), but: None });
    }

    pub(super) fn taken_but(&mut self, key: &str, to: &str, but: &str) {
        self.found(key, Fate::Taken { to: to.to_owned(), how: None, but: Some(but.to_owned()) });
    }

    pub(super) fn same(&mut self, key: &str) {
        self.found(key, Fate::Same);
    }

    pub(super) fn not_needed(&mut self, key: &str, why: &str) {
        self.found(key, Fate::NotNeeded(why.to_owned()));
    }

    pub(super) fn not_supported(&mut self, key: &str, why: &str) {
        self.found(key, Fate::NotSupported(why.to_owned()));
    }

    /// Writes down what became of a key. One that is neither said nor has a default is no key here.
    fn found(&mut self, key: &str, fate: Fate) {
        let (said, default) = (self.said.values.get(key), self.defaults.get(key));
        let Some(value) = said.or(default).cloned() else { return };
        // Nothing is taken of what says nothing.
        let nothing = value.is_null() && default.is_none() && matches!(fate, Fate::Taken { .. });
        let fate = if nothing { Fate::Same } else { fate };
        self.findings.retain(|finding| finding.key != key);
        self.findings.push(Finding { key: key.to_owned(), value, said: said.is_some(), fate });
    }

    fn is_found(&self, key: &str) -> bool {
        self.findings.iter().any(|finding| finding.key == key)
    }

    /// What becomes of keys that are said and have no counterpart.
    pub(super) fn rest(&mut self, table: &[(&str, Rest)]) {
        for (key, rest) in table {
            if self.is_found(key) {
                continue;
            }
            match (rest, self.said.values.get(*key)) {
                (_, None) => {}
                (_, Some(Value::Null)) => self.same(key),
                (Rest::Idle(why), Some(_)) => self.not_needed(key, why),
                (Rest::Off(default, _), Some(value)) if alike(value, default) => self.same(key),
                (Rest::Off(_, why), Some(_)) => self.not_supported(key, why),
            }
        }
    }

    /// The recipe, and what became of each key: in the order in which they are said, defaults behind.
    pub(super) fn finish(mut self) -> (Draft, Vec<Finding>) {
        let said = self.said;
        for key in said.values.keys().filter(|key| !self.is_found(key)).cloned().collect::<Vec<_>>() {
            let fate = match (self.known.borrow().contains(&key), said.values.get(&key)) {
                (false, _) => Fate::Unknown,
                (true, Some(Value::Null)) => Fate::Same,
                (true, _) => Fate::NotSupported("nothing is made of this value".to_owned()),
            };
            self.found(&key, fate);
        }
        for (key, value) in &said.launcher {
            let fate = Fate::NotNeeded(
                "torchrun or srun starts vr1's processes; by how many it is, batches are counted".to_owned(),
            );
            self.findings.push(Finding { key: format!("launcher --{key}"), value: value.clone(), said: true, fate });
        }
        let places: Vec<&String> = said.values.keys().collect();
        let place = |finding: &Finding| places.iter().position(|key| **key == finding.key).unwrap_or(places.len());
        self.findings.sort_by_key(place);
        let differs = |finding: &Finding| {
            let (key, value) = (&finding.key, &finding.value);
            match &finding.fate {
                Fate::Taken { but: Some(but), .. } => Some(format!("{key} ({value}): {but}")),
                Fate::NotSupported(why) => Some(format!("{key} ({value}): {why}")),
                Fate::Unknown => Some(format!("{key} ({value}): not known")),
                _ => None,
            }
        };
        let differences: Vec<String> = self.findings.iter().filter_map(differs).collect();
        self.draft.set("differences", differences);
        (self.draft, self.findings)
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number| number.is_finite())
}

fn whole(value: &Value) -> Option<u64> {
    let number = number(value)?;
    (number >= 0.0 && number.fract() == 0.0 && number <= u64::MAX as f64).then_some(number as u64)
}

/// Whether a value is the one that JSON says, numbers by what they are.
fn alike(value: &Value, default: &str) -> bool {
    let default: Value = serde_json::from_str(default).unwrap_or_default();
    match (number(value), number(&default)) {
        (Some(a), Some(b)) => a == b,
        _ => *value == default || (value.is_null() && default == Value::Bool(false)),
    }
}
