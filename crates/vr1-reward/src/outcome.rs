use std::fmt;

use serde::Serialize;

/// The values of one rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The reward, unless it is missing.
    pub total: Option<f32>,
    /// Terms and metrics in order, each unless it is missing.
    pub terms: Vec<(String, Option<f32>)>,
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
