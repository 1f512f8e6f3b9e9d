//! What an answer can be.

use num_rational::BigRational;
use num_traits::{One, Zero};

/// An expression, as it was written: nothing is simplified.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    /// An exact number; `decimal` where it was written with a decimal point.
    Number {
        value: BigRational,
        decimal: bool,
    },
    Pi,
    E,
    ImaginaryUnit,
    Infinity,
    Symbol(String),
    Sum(Vec<Self>),
    Product(Vec<Self>),
    Power(Box<Self>, Box<Self>),
    Call(Function, Vec<Self>),
    /// `28\%`: equal to 28/100, and to 28.
    Percent(Box<Self>),
    Matrix {
        columns: usize,
        cells: Vec<Self>,
    },
    /// `Σ` or `Π` of `body` for `variable` from `low` to `high`.
    Series {
        product: Product,
        variable: String,
        low: Box<Self>,
        high: Box<Self>,
        body: Box<Self>,
    },
}

/// Whether a series adds or multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    Sum,
    Product,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Function {
    Sin,
    Cos,
    Tan,
    Cot,
    Sec,
    Csc,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Log,
    Abs,
    Floor,
    Ceil,
    Factorial,
    Binomial,
    Mod,
    Gcd,
    Lcm,
    Max,
    Min,
}

impl Expr {
    pub(crate) fn integer(value: i64) -> Self {
        Self::Number { value: BigRational::from_integer(value.into()), decimal: false }
    }

    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Number { value, decimal } => Self::Number { value: -value, decimal },
            other => Self::Product(vec![Self::integer(-1), other]),
        }
    }

    pub(crate) fn inverse(self) -> Self {
        match self {
            Self::Number { value, decimal } if !value.is_zero() => Self::Number { value: value.recip(), decimal },
            other => Self::Power(Box::new(other), Box::new(Self::integer(-1))),
        }
    }

    pub(crate) fn over(self, below: Self) -> Self {
        match (self, below) {
            (Self::Number { value: a, decimal: c }, Self::Number { value: b, decimal: d }) if !b.is_zero() => {
                Self::Number { value: a / b, decimal: c || d }
            }
            (above, below) => Self::Product(vec![above, below.inverse()]),
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self::Sum(vec![self, other.negated()])
    }

    /// Made of symbols alone, like the left side of `x = 3`, `A/S = 2` or `m + n = 7`.
    pub(crate) fn is_name(&self) -> bool {
        match self {
            Self::Symbol(_) => true,
            Self::Product(parts) | Self::Sum(parts) => parts.iter().all(Self::is_name),
            Self::Power(base, exponent) => {
                base.is_name() && matches!(&**exponent, Self::Number { value, .. } if *value == -BigRational::one())
            }
            _ => false,
        }
    }

    /// The letters of a word that was read as a product: `Even` is E·v·e·n.
    pub(crate) fn word(&self) -> Option<String> {
        match self {
            Self::Symbol(name) => Some(name.clone()),
            Self::E => Some("e".into()),
            Self::Product(parts) => parts.iter().map(Self::word).collect(),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Relation {
    pub(crate) fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
            other => other,
        }
    }
}

/// An answer: an expression, or something made of expressions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Expr(Expr),
    Tuple(Vec<Self>),
    /// A finite set, in the order it was written.
    Set(Vec<Self>),
    Interval {
        low: Expr,
        high: Expr,
        low_open: bool,
        high_open: bool,
    },
    Union(Vec<Self>),
    Intersection(Vec<Self>),
    Difference(Box<Self>, Box<Self>),
    /// ℕ, ℤ, ℚ, ℝ, ℂ by their letters.
    Named(char),
    /// `a = b = …`, at least one.
    Relations(Vec<(Self, Relation, Self)>),
}

impl Answer {
    pub(crate) fn expr(self) -> Option<Expr> {
        match self {
            Self::Expr(expr) => Some(expr),
            _ => None,
        }
    }

    pub(crate) fn as_expr(&self) -> Option<&Expr> {
        match self {
            Self::Expr(expr) => Some(expr),
            _ => None,
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        !matches!(self, Self::Expr(_) | Self::Relations(_) | Self::Tuple(_))
    }
}
