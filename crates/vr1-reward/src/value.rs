use std::borrow::Cow;
use std::fmt;

use crate::Fields;

/// A rectangle: `[x1, y1, x2, y2]`.
pub type BBox = [f64; 4];

/// A box and what it shows.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledBox {
    /// The rectangle.
    pub bbox: BBox,
    /// What it shows; empty where nothing was said.
    pub label: String,
}

/// A value of the reward language.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// Nothing: no such tag, no such field, no number in the text.
    Missing,
    /// A number.
    Number(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(Cow<'a, str>),
    /// A rectangle.
    Box(BBox),
    /// Labelled rectangles.
    Boxes(Vec<LabelledBox>),
    /// Values in order.
    List(Vec<Self>),
    /// A JSON object out of the sample's fields.
    Record(&'a Fields),
}

impl<'a> Value<'a> {
    /// The value of a JSON value; `null` is missing.
    #[must_use]
    pub fn from_json(json: &'a serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Missing,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(value) => value.as_f64().map_or(Self::Missing, Self::Number),
            serde_json::Value::String(value) => Self::Text(Cow::Borrowed(value)),
            serde_json::Value::Array(values) => Self::List(values.iter().map(Self::from_json).collect()),
            serde_json::Value::Object(fields) => Self::Record(fields),
        }
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// The text, where the value is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, where the value is one.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The value as text: a number as short as it can be, a list with commas between.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Missing => Cow::Borrowed(""),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Box(bbox) => Cow::Owned(format!("[{}, {}, {}, {}]", bbox[0], bbox[1], bbox[2], bbox[3])),
            Self::Boxes(boxes) => {
                let texts: Vec<String> = boxes.iter().map(|b| format!("{} {:?}", b.label, b.bbox)).collect();
                Cow::Owned(texts.join(", "))
            }
            Self::List(values) => {
                let texts: Vec<Cow<'_, str>> = values.iter().map(Value::to_text).collect();
                Cow::Owned(texts.join(", "))
            }
            Self::Record(fields) => Cow::Owned(serde_json::Value::Object((*fields).clone()).to_string()),
        }
    }

    /// The work of copying the value; a part of the rollout's own text is only pointed at.
    pub(crate) fn copying(&self) -> u64 {
        match self {
            Self::Text(Cow::Owned(text)) => text.len() as u64 / 64,
            Self::Boxes(boxes) => boxes.iter().map(|b| 1 + b.label.len() as u64 / 64).sum(),
            Self::List(items) => items.iter().map(|item| 1 + item.copying()).sum(),
            _ => 0,
        }
    }

    /// The work of looking at all of the value.
    pub(crate) fn reading(&self) -> u64 {
        match self {
            Self::Text(text) => 1 + text.len() as u64 / 64,
            Self::List(items) => items.iter().map(Self::reading).sum(),
            other => 1 + other.copying(),
        }
    }

    /// What the value is, for messages: `the text "abc"`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Missing => "missing".into(),
            Self::Number(number) => format!("the number {number}"),
            Self::Bool(value) => format!("the boolean {value}"),
            Self::Text(text) => {
                let start: String = text.chars().take(40).collect();
                let dots = if start.len() < text.len() { "…" } else { "" };
                format!("the text {start:?}{dots}")
            }
            Self::Box(_) => format!("the box {}", self.to_text()),
            Self::Boxes(boxes) => format!("a list of {} labelled boxes", boxes.len()),
            Self::List(values) => format!("a list of {}", values.len()),
            Self::Record(_) => "an object".into(),
        }
    }
}

/// A type of the reward language, as far as it is known before anything runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Type {
    /// A number.
    Number,
    /// True or false.
    Bool,
    /// A text.
    Text,
    /// A rectangle.
    Box,
    /// Labelled rectangles.
    Boxes,
    /// A list of values of one type.
    List(Box<Self>),
    /// Known only when the program runs: a sample's own field.
    Any,
}

impl Type {
    /// A list of values of this type.
    #[must_use]
    pub fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }

    /// Whether a value of this type can stand where `wanted` is wanted (checked again as it runs where one is `Any`).
    #[must_use]
    pub fn fits(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::List(a), Self::List(b)) => a.fits(b),
            (a, b) => a == b,
        }
    }

    /// Whether the value is of this type.
    #[must_use]
    pub fn admits(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Any, _)
            | (Self::Number, Value::Number(_))
            | (Self::Bool, Value::Bool(_))
            | (Self::Text, Value::Text(_))
            | (Self::Box, Value::Box(_))
            | (Self::Boxes, Value::Boxes(_)) => true,
            (Self::List(of), Value::List(values)) => values.iter().all(|value| of.admits(value)),
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number => write!(f, "number"),
            Self::Bool => write!(f, "boolean"),
            Self::Text => write!(f, "text"),
            Self::Box => write!(f, "box"),
            Self::Boxes => write!(f, "list of labelled boxes"),
            Self::List(of) if **of == Self::Any => write!(f, "list"),
            Self::List(of) => write!(f, "list of {of}"),
            Self::Any => write!(f, "field"),
        }
    }
}
