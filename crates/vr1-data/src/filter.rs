use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// Which rows are kept, by what stands in one of their columns. Of several tests all have to hold.
///
/// A column that a row lacks is null there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The column, by the name it has in the file.
    pub column: String,
    /// A value, or a list of values of which it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<Value>,
    /// A value, or a list of values of which it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_not: Option<Value>,
    /// A regular expression that is found in it; of what is no text, in its JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// At least so many characters of a text, or items of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_length: Option<usize>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// A number that is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// A number that is at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// A filter whose expression is parsed.
#[derive(Debug, Clone)]
pub(crate) struct Sieve {
    filter: Filter,
    pattern: Option<Regex>,
}

impl Sieve {
    pub(crate) fn new(number: usize, filter: &Filter) -> Result<Self> {
        let what = |key: &str| format!("filters[{number}].{key}");
        if filter.column.is_empty() {
            return Err(Error::setting(what("column"), "an empty name"));
        }
        if *filter == (Filter { column: filter.column.clone(), ..Filter::default() }) {
            let tests = "is, is_not, matches, min_length, max_length, min or max";
            return Err(Error::setting(what("column"), format!("{:?} without a test; add {tests}", filter.column)));
        }
        let pattern = match &filter.matches {
            Some(pattern) => Some(Regex::new(pattern).map_err(|e| Error::setting(what("matches"), e.to_string()))?),
            None => None,
        };
        Ok(Self { filter: filter.clone(), pattern })
    }

    pub(crate) fn column(&self) -> &str {
        &self.filter.column
    }

    pub(crate) fn keeps(&self, value: &Value) -> bool {
        let Filter { is, is_not, min_length, max_length, min, max, .. } = &self.filter;
        let length = match value {
            Value::String(text) => Some(text.chars().count()),
            Value::Array(items) => Some(items.len()),
            _ => None,
        };
        let number = value.as_f64();
        is.as_ref().is_none_or(|is| one_of(value, is))
            && is_not.as_ref().is_none_or(|is_not| !one_of(value, is_not))
            && min_length.is_none_or(|least| length.is_some_and(|length| length >= least))
            && max_length.is_none_or(|most| length.is_some_and(|length| length <= most))
            && min.is_none_or(|least| number.is_some_and(|number| number >= least))
            && max.is_none_or(|most| number.is_some_and(|number| number <= most))
            && self.pattern.as_ref().is_none_or(|pattern| match value {
                Value::Null => false,
                Value::String(text) => pattern.is_match(text),
                other => pattern.is_match(&other.to_string()),
            })
    }
}

/// Whether a value is another, or one of those in a list. Numbers are alike by what they count.
fn one_of(value: &Value, of: &Value) -> bool {
    let alike = |of: &Value| value == of || value.as_f64().is_some_and(|number| of.as_f64() == Some(number));
    alike(of) || of.as_array().is_some_and(|list| list.iter().any(alike))
}
