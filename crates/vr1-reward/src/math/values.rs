//! Expressions: exactly, else to digits, else at points.

use num_complex::Complex64;
use num_rational::BigRational;
use num_traits::ToPrimitive;

use super::equal::Rules;
use super::exact::exact;
use super::expr::Expr;
use super::matrix::evaluated;
use super::modular::modular;
use super::numeric::{Point, Work, complex, real};
use super::precise::precisely;

pub(super) fn number(expr: &Expr) -> Option<(&BigRational, bool)> {
    match expr {
        Expr::Number { value, decimal } => Some((value, *decimal)),
        Expr::Percent(of) => number(of),
        _ => None,
    }
}

pub(super) fn same_expr(gold: &Expr, answer: &Expr, rules: Rules, work: &Work) -> bool {
    compare_expr(gold, answer, rules, work).unwrap_or(false)
}

pub(super) fn compare_expr(gold: &Expr, answer: &Expr, rules: Rules, work: &Work) -> Option<bool> {
    work.step()?;
    if gold == answer {
        return Some(true);
    }
    // A word is compared as a word: `\text{Even}` and `Even`.
    if matches!(gold, Expr::Symbol(_)) || matches!(answer, Expr::Symbol(_)) {
        return Some(matches!((gold.word(), answer.word()), (Some(a), Some(b)) if a == b));
    }
    if let (Expr::Infinity, _) | (_, Expr::Infinity) = (gold, answer) {
        return Some(real(gold, work) == real(answer, work) && real(gold, work).is_some());
    }
    let (a, b) = (evaluated(gold, work), evaluated(answer, work));
    let (gold, answer) = (a.as_ref().unwrap_or(gold), b.as_ref().unwrap_or(answer));
    match (gold, answer) {
        (Expr::Matrix { columns: a, cells: left }, Expr::Matrix { columns: b, cells: right }) => {
            let alike = a == b && left.len() == right.len();
            return Some(alike && left.iter().zip(right).all(|(a, b)| same_expr(a, b, rules, work)));
        }
        (Expr::Matrix { .. }, _) | (_, Expr::Matrix { .. }) => return Some(false),
        _ => {}
    }
    let percent = matches!(gold, Expr::Percent(_)) != matches!(answer, Expr::Percent(_));
    match (number(gold), number(answer)) {
        // 28% is 28 as well as 0.28.
        (Some((a, false)), Some((b, false))) if percent && a == b => return Some(true),
        // A whole number is not reached by rounding: 1 is 1.0, and not 1.0000001.
        (Some((a, c)), Some((b, d))) if !percent && ((!c && a.is_integer()) || (!d && b.is_integer())) => {
            return Some(a == b);
        }
        (Some((_, true)), _) | (_, Some((_, true))) => {
            let (Some(a), Some(b)) = (rounded(gold, rules, work), rounded(answer, rules, work)) else {
                return Some(false);
            };
            return Some(a == b);
        }
        _ => {}
    }
    if let (Some(a), Some(b)) = (exact(gold, work), exact(answer, work)) {
        return Some(a == b);
    }
    match (modular(gold, 1, work), modular(answer, 1, work)) {
        (Some(a), Some(b)) => return Some(a == b && modular(gold, 2, work) == modular(answer, 2, work)),
        (None, None) => {}
        // Of one that is rational and one that is not written so, only values can tell.
        _ => {}
    }
    Some(agree(gold, answer, work))
}

/// A value to the agreed number of decimal places, as a whole number of the last of them.
pub(super) fn rounded(expr: &Expr, rules: Rules, work: &Work) -> Option<i128> {
    let scale = 10_f64.powi(i32::try_from(rules.decimals).ok()?);
    if let Some(value) = exact(expr, work) {
        let scaled = value * BigRational::from_float(scale)?;
        // Ties go to the even digit, as in Python.
        let floor = scaled.floor();
        let rest = &scaled - &floor;
        let half = BigRational::new(1.into(), 2.into());
        let whole = floor.to_integer().to_i128()?;
        let up = rest > half || (rest == half && whole % 2 != 0);
        return Some(if up { whole + 1 } else { whole });
    }
    let value = real(expr, work)? * scale;
    (value.abs() < 1e30).then(|| value.round_ties_even() as i128)
}

/// Whether both take the same values: at nine points of either sign in double precision, to ten digits of the greatest
/// number on the way, and where they do, at one of them to fifty.
///
/// A point where either has no value does not count, and four must be left. One point will do where there is no symbol.
pub(super) fn agree(a: &Expr, b: &Expr, work: &Work) -> bool {
    let close = |(x, sx): (Complex64, f64), (y, sy): (Complex64, f64)| {
        let size = x.norm().max(y.norm());
        (x - y).norm() <= 1e-10 * size + 1e-13 * sx.max(sy)
    };
    if let (Some(x), Some(y)) = (complex(a, Point::None, work), complex(b, Point::None, work)) {
        return close(x, y) && precisely(a, b, Point::None, x.1.max(y.1), work);
    }
    // The bounds of a series are whole numbers.
    let of = if holds_series(a) || holds_series(b) { Point::Whole } else { Point::Real };
    let mut points = 0;
    let mut surest: Option<(Point, f64)> = None;
    for point in (0..9).map(of) {
        match (complex(a, point, work), complex(b, point, work)) {
            (Some(x), Some(y)) if close(x, y) => {
                points += 1;
                let size = x.1.max(y.1);
                if surest.is_none_or(|(_, least)| size < least) {
                    surest = Some((point, size));
                }
            }
            (Some(_), Some(_)) => return false,
            _ => {}
        }
    }
    match surest {
        Some((point, size)) => points >= 4 && precisely(a, b, point, size, work),
        None => structural(a, b, work),
    }
}

fn holds_series(expr: &Expr) -> bool {
    match expr {
        Expr::Series { .. } => true,
        Expr::Sum(parts) | Expr::Product(parts) | Expr::Call(_, parts) => parts.iter().any(holds_series),
        Expr::Power(base, exponent) => holds_series(base) || holds_series(exponent),
        Expr::Percent(of) => holds_series(of),
        _ => false,
    }
}

/// The same parts in any order, for what has no value.
pub(super) fn structural(a: &Expr, b: &Expr, work: &Work) -> bool {
    if work.step().is_none() {
        return false;
    }
    let any_order = |a: &[Expr], b: &[Expr]| {
        let mut left: Vec<&Expr> = b.iter().collect();
        a.len() == b.len()
            && a.iter().all(|item| {
                let found = left.iter().position(|other| structural(item, other, work));
                found.map(|at| left.swap_remove(at)).is_some()
            })
    };
    match (a, b) {
        (Expr::Sum(a), Expr::Sum(b)) | (Expr::Product(a), Expr::Product(b)) => any_order(a, b),
        (Expr::Power(a, c), Expr::Power(b, d)) => structural(a, b, work) && structural(c, d, work),
        (Expr::Call(f, a), Expr::Call(g, b)) => {
            f == g && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| structural(a, b, work))
        }
        (
            Expr::Series { product: p, variable: v, low: a, high: c, body: e },
            Expr::Series { product: q, variable: w, low: b, high: d, body: f },
        ) => {
            let alike = |a: &Expr, b: &Expr| {
                a == b || structural(a, b, work) || {
                    let rules = Rules { decimals: 6, relation_for_set: false };
                    same_expr(a, b, rules, work)
                }
            };
            p == q && v == w && alike(a, b) && alike(c, d) && alike(e, f)
        }
        (a, b) => a == b,
    }
}
