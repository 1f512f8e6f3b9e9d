//! The checked tree: every name resolved, every regex compiled, every argument in its place.

use regex::Regex;

use super::ast::Binary;
use super::functions::Function;
use crate::registry::Verifier;
use crate::{Type, Value};

/// What the language knows of a rollout by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variable {
    Prompt,
    Completion,
    Solution,
    Tokens,
    Finished,
    Answer,
    FirstAnswer,
    Think,
}

impl Variable {
    pub(crate) const ALL: [(&'static str, Self); 8] = [
        ("prompt", Self::Prompt),
        ("completion", Self::Completion),
        ("solution", Self::Solution),
        ("tokens", Self::Tokens),
        ("finished", Self::Finished),
        ("answer", Self::Answer),
        ("first_answer", Self::FirstAnswer),
        ("think", Self::Think),
    ];

    pub(crate) fn facts(self) -> Facts {
        let (kind, missing, depends) = match self {
            Self::Prompt => (Type::Text, false, Depends::PROMPT),
            Self::Completion => (Type::Text, false, Depends::COMPLETION),
            Self::Solution => (Type::Text, false, Depends::REFERENCE),
            Self::Tokens => (Type::Number, false, Depends::COMPLETION),
            Self::Finished => (Type::Bool, false, Depends::COMPLETION),
            Self::Answer | Self::FirstAnswer | Self::Think => (Type::Text, true, Depends::COMPLETION),
        };
        let low = if self == Self::Tokens { 0.0 } else { f64::NEG_INFINITY };
        Facts { kind, missing, range: Range { low, high: f64::INFINITY }, depends }
    }
}

/// What a value was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Depends(u8);

impl Depends {
    pub(crate) const PROMPT: Self = Self(1);
    pub(crate) const COMPLETION: Self = Self(2);
    /// The solution and the sample's fields: what the model cannot see.
    pub(crate) const REFERENCE: Self = Self(4);
    pub(crate) const ALL: Self = Self(7);

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The values a number can take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Range {
    pub(crate) const ANY: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };
    pub(crate) const UNIT: Self = Self { low: 0.0, high: 1.0 };
    pub(crate) const COUNT: Self = Self { low: 0.0, high: f64::INFINITY };

    pub(crate) fn point(value: f64) -> Self {
        Self { low: value, high: value }
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    pub(crate) fn contains(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// The range of a monotone or bilinear operation, from the corners; ∞·0 counts as 0 and ∞−∞ as unknown.
    pub(crate) fn corners(self, other: Self, operation: impl Fn(f64, f64) -> f64) -> Self {
        let mut range = Self { low: f64::INFINITY, high: f64::NEG_INFINITY };
        for a in [self.low, self.high] {
            for b in [other.low, other.high] {
                let value = operation(a, b);
                if value.is_nan() {
                    return Self::ANY;
                }
                range = range.union(Self::point(value));
            }
        }
        range
    }
}

/// What is known of an expression before it runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    pub(crate) kind: Type,
    pub(crate) missing: bool,
    pub(crate) range: Range,
    pub(crate) depends: Depends,
}

impl Facts {
    pub(crate) fn of(kind: Type) -> Self {
        let range = if kind == Type::Bool { Range::UNIT } else { Range::ANY };
        Self { kind, missing: false, range, depends: Depends::default() }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Constant(Value<'static>),
    Variable(Variable),
    Term(usize),
    Local(usize),
    Field(Vec<String>),
    Member(Box<Self>, String),
    Index(Box<Self>, Box<Self>),
    List(Vec<Self>),
    Negate(Box<Self>),
    Not(Box<Self>),
    Binary(Binary, Box<Self>, Box<Self>),
    If(Box<Self>, Box<Self>, Box<Self>),
    Let(usize, Box<Self>, Box<Self>),
    Call(&'static Function, Vec<Self>),
    Regex(Box<RegexCall>),
    Each(Each, Box<Self>, usize, Box<Self>),
    Verify(Verifier, Vec<Self>),
    Group(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct RegexCall {
    pub(crate) kind: RegexKind,
    pub(crate) text: Node,
    pub(crate) regex: Regex,
    pub(crate) extra: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegexKind {
    Matches,
    FullMatch,
    Find,
    FindAll,
    Capture,
    Replace,
}

impl RegexKind {
    pub(crate) const ALL: [(&'static str, Self); 6] = [
        ("matches", Self::Matches),
        ("fullmatch", Self::FullMatch),
        ("find", Self::Find),
        ("find_all", Self::FindAll),
        ("capture", Self::Capture),
        ("replace_all", Self::Replace),
    ];
}

/// Functions that look at each item of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Each {
    Map,
    Filter,
    Any,
    All,
    Count,
    Sum,
}

impl Each {
    pub(crate) const ALL: [(&'static str, Self); 6] = [
        ("map", Self::Map),
        ("filter", Self::Filter),
        ("any", Self::Any),
        ("all", Self::All),
        ("count", Self::Count),
        ("sum", Self::Sum),
    ];
}

/// A value that needs every rollout of the group.
#[derive(Debug, Clone)]
pub(crate) struct GroupCall {
    pub(crate) kind: GroupKind,
    pub(crate) of: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupKind {
    Mean,
    Min,
    Max,
    Std,
    Rank,
    Size,
    Diversity,
    Share,
}

impl GroupKind {
    pub(crate) const ALL: [(&'static str, Self); 8] = [
        ("group_mean", Self::Mean),
        ("group_min", Self::Min),
        ("group_max", Self::Max),
        ("group_std", Self::Std),
        ("group_rank", Self::Rank),
        ("group_size", Self::Size),
        ("group_diversity", Self::Diversity),
        ("group_share", Self::Share),
    ];
}
