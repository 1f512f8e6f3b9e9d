use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The values of one rollout.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The reward, unless it is missing.
    pub total: Option<f32>,
    /// Terms and metrics in order, each unless it is missing.
    pub terms: Vec<(String, Option<f32>)>,
    /// Where the total is missing: the terms, fields (`fields.gold`) and tags (`answer`) without a value that leave it so.
    pub missing: Vec<String>,
}

impl Outcome {
    /// The total.
    ///
    /// # Errors
    /// [`Error::NoTotal`] where it is missing, with the names of what it lacks.
    ///
    /// # Example
    /// ```
    /// use vr1_reward::{Program, Record, Registry};
    /// let program = Program::parse("terms: { right: 'exact(completion, fields.gold)' }\ntotal: right", &Registry::default())?;
    /// let record = Record::parse(r#"{"completion": "3", "solution": "3"}"#)?;
    /// let error = program.outcome(&record.rollout())?.reward().unwrap_err();
    /// assert_eq!(error.to_string(), "`total` has no value for this rollout: `right` and `fields.gold` are missing");
    /// # Ok::<(), vr1_reward::Error>(())
    /// ```
    pub fn reward(&self) -> Result<f32> {
        self.total.ok_or_else(|| Error::NoTotal { missing: self.missing.clone() })
    }
}

impl Serialize for Outcome {
    /// `{"total":…,"terms":{…}}`, as `vr1 score --json` prints it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        struct Named<'a>(&'a [(String, Option<f32>)]);
        impl Serialize for Named<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
            }
        }
        let mut out = serializer.serialize_struct("Outcome", 2)?;
        out.serialize_field("total", &self.total)?;
        out.serialize_field("terms", &Named(&self.terms))?;
        out.end()
    }
}

impl<'de> Deserialize<'de> for Outcome {
    /// Reads what was written; what it lacked is not written.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            total: Option<f32>,
            terms: Terms,
        }
        let Written { total, terms: Terms(terms) } = Written::deserialize(deserializer)?;
        Ok(Self { total, terms, missing: Vec::new() })
    }
}

/// A map in the order in which it is written.
struct Terms(Vec<(String, Option<f32>)>);

impl<'de> Deserialize<'de> for Terms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Terms;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number for each term")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Terms, A::Error> {
                let mut terms = Vec::new();
                while let Some(term) = map.next_entry()? {
                    terms.push(term);
                }
                Ok(Terms(terms))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// The least and greatest value of a term, as the static check knows them.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// The term's name, or `total`.
    pub name: String,
    /// Never below this.
    pub low: f64,
    /// Never above this.
    pub high: f64,
    /// Whether it can be missing.
    pub missing: bool,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |x: f64| if x.is_finite() { x.to_string() } else { "∞".into() };
        let low = if self.low.is_finite() { self.low.to_string() } else { "-∞".into() };
        let missing = if self.missing { ", or missing" } else { "" };
        write!(f, "{}: {low} … {}{missing}", self.name, end(self.high))
    }
}
