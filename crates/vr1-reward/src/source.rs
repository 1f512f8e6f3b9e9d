use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::Fields;

/// A reward program as it is written: a file of its own, or the `reward:` part of a recipe.
///
/// # Example
/// ```
/// use vr1_reward::{Program, ProgramSource, Registry};
///
/// let yaml = "terms: { accuracy: 'exact(answer, solution)' }\ntotal: accuracy";
/// let source: ProgramSource = serde_yaml::from_str(yaml)?;
/// assert_eq!(source.terms.names().collect::<Vec<_>>(), ["accuracy"]);
/// let program = Program::compile(source, &Registry::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramSource {
    /// What the reward is called in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it rewards, in a sentence or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Named expressions, in order; each may use those above it.
    pub terms: Terms,
    /// Named expressions that are logged, and that `total` need not use.
    #[serde(default, skip_serializing_if = "Terms::is_empty")]
    pub metrics: Terms,
    /// The reward: an expression over the terms.
    pub total: Expression,
    /// Completions and what they are worth.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<Test>,
}

/// An expression's text; in YAML a number or boolean will do as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Expression(pub String);

struct ExpressionVisitor;

impl Visitor<'_> for ExpressionVisitor {
    type Value = Expression;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an expression, written as text")
    }
    fn visit_str<E>(self, text: &str) -> Result<Expression, E> {
        Ok(Expression(text.to_owned()))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Expression, E> {
        Ok(Expression(value.to_string()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Expression, E> {
        Ok(Expression(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Expression, E> {
        Ok(Expression(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Expression, E> {
        Ok(Expression(value.to_string()))
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExpressionVisitor)
    }
}

/// Named expressions in the order they are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms(pub Vec<(String, Expression)>);

impl Terms {
    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Terms {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, expression)| (name, expression)))
    }
}

struct TermsVisitor;

impl<'de> Visitor<'de> for TermsVisitor {
    type Value = Terms;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names with an expression each, as in `accuracy: exact(answer, solution)`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Terms, A::Error> {
        let mut terms: Vec<(String, Expression)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if terms.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom(format!("the term `{name}` is there twice")));
            }
            terms.push((name, map.next_value()?));
        }
        Ok(Terms(terms))
    }
}

impl<'de> Deserialize<'de> for Terms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TermsVisitor)
    }
}

/// A completion and what it is worth.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
pub struct Test {
    /// The question.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// What the model answered.
    #[serde(default)]
    pub completion: String,
    /// The reference answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub solution: String,
    /// The completion's length in tokens; its words where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Whether the model ended it; yes where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<bool>,
    /// Terms, metrics or `total`, and their values; `null` for missing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expect: BTreeMap<String, Expected>,
    /// The other completions of the group, for terms that compare; each may expect its own values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<Self>,
    /// The sample's own fields: every other key.
    #[serde(flatten)]
    pub fields: Fields,
}

/// The value a test expects.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Expected {
    /// A number, to within 1e-5.
    Number(f64),
    /// A boolean, the same as 1 or 0.
    Bool(bool),
    /// No value.
    Missing(()),
}

impl Expected {
    /// The number, or nothing for missing.
    #[must_use]
    pub fn value(self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Bool(value) => Some(f64::from(value)),
            Self::Missing(()) => None,
        }
    }
}
