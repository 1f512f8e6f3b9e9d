use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Fields;
use crate::faults::keys;

/// Which of a row's keys stands for which key that is read, where names differ: ours first, as in
/// `{ question: problem, answer: solution, images: [image_1, image_2] }`.
///
/// Under its new name a column is read as if it had been called that; under its old one it is gone, and so is what the row
/// had under the new one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Columns(pub BTreeMap<String, Column>);

/// The column, or the columns, that a key stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Column {
    /// One column.
    One(String),
    /// Several, joined to a list; those that are null or that a row lacks are left out.
    Several(Vec<String>),
}

impl Columns {
    /// The row with its columns under the names that are read.
    pub(crate) fn rename(&self, mut fields: Fields) -> Result<Fields, String> {
        let mut renamed = vec![];
        for (ours, theirs) in &self.0 {
            let value = match theirs {
                Column::One(theirs) => fields.get(theirs).cloned().ok_or_else(|| {
                    let has = keys(&fields);
                    format!("columns.{ours}: the row has no {theirs:?}; it has the keys {has}")
                })?,
                Column::Several(theirs) => {
                    let present = theirs.iter().filter_map(|key| fields.get(key)).filter(|value| !value.is_null());
                    Value::Array(present.cloned().collect())
                }
            };
            renamed.push((ours, value));
        }
        self.theirs().for_each(|(_, theirs)| drop(fields.shift_remove(theirs)));
        for (ours, value) in renamed {
            fields.insert(ours.clone(), value);
        }
        Ok(fields)
    }

    /// Every column that is renamed, with the key it is read under.
    fn theirs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(ours, theirs)| {
            let theirs = match theirs {
                Column::One(one) => std::slice::from_ref(one),
                Column::Several(several) => several,
            };
            theirs.iter().map(move |theirs| (ours.as_str(), theirs.as_str()))
        })
    }

    /// The key that a column is read under.
    #[cfg(feature = "parquet")]
    pub(crate) fn ours<'a>(&'a self, theirs: &'a str) -> &'a str {
        self.theirs().find(|(_, key)| *key == theirs).map_or(theirs, |(ours, _)| ours)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Columns {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.map(|(ours, theirs)| (ours.to_owned(), Column::One(theirs.to_owned()))).into())
    }
}
