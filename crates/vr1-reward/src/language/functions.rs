//! What a function of the language is: what it takes, what it gives, and what it does.

use std::fmt;

use super::library::FUNCTIONS;
use super::node::Range;
use crate::{Budget, Result, Type, Value};

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Number,
    Text,
    Rectangle,
    Boxes,
    List,
    /// A text, a list or labelled boxes: what has a length.
    Sized,
    /// Anything; a missing value is passed on to the function.
    Whatever,
}

impl Shape {
    pub(crate) fn accepts(self, kind: &Type) -> bool {
        match self {
            Self::Whatever => true,
            _ if *kind == Type::Any => true,
            Self::Number => *kind == Type::Number,
            Self::Text => *kind == Type::Text,
            Self::Rectangle => *kind == Type::Box,
            Self::Boxes => *kind == Type::Boxes,
            Self::List => matches!(kind, Type::List(_)),
            Self::Sized => matches!(kind, Type::List(_) | Type::Text | Type::Boxes),
        }
    }

    pub(crate) fn admits(self, value: &Value<'_>) -> bool {
        match self {
            Self::Whatever => true,
            Self::Number => matches!(value, Value::Number(_)),
            Self::Text => matches!(value, Value::Text(_)),
            Self::Rectangle => matches!(value, Value::Box(_)),
            Self::Boxes => matches!(value, Value::Boxes(_)),
            Self::List => matches!(value, Value::List(_)),
            Self::Sized => matches!(value, Value::List(_) | Value::Text(_) | Value::Boxes(_)),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "text",
            Self::Rectangle => "box",
            Self::Boxes => "list of labelled boxes",
            Self::List => "list",
            Self::Sized => "text or list",
            Self::Whatever => "value",
        }
    }
}

/// What a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    Number,
    Text,
    Boolean,
    Rectangle,
    Boxes,
    Texts,
    Numbers,
    /// A list as the first argument is.
    SameList,
    /// An item of the list that is the first argument.
    Item,
}

pub(super) type Run = for<'a> fn(&mut [Value<'a>], &Budget) -> Result<Value<'a>>;

pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Shape],
    /// Whether the last argument may come again.
    pub(crate) variadic: bool,
    pub(crate) gives: Gives,
    /// Whether the result can be missing though no argument is.
    pub(crate) partial: bool,
    pub(crate) range: fn(&[Range]) -> Range,
    pub(crate) run: Run,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

impl Function {
    pub(super) const fn partial(mut self) -> Self {
        self.partial = true;
        self
    }
    pub(super) const fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }
}
