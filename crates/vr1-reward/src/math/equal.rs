//! Whether two answers are the same, the way Math-Verify judges it: not symmetric, the first is the reference.

use super::exact::substituted;
use super::expr::{Answer, Expr, Relation};
use super::modular::modular;
use super::numeric::{Point, Work, complex};
use super::sets::{as_set, same_set};
use super::values::{agree, same_expr};

/// How two answers are compared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Decimal places that must agree where one side is written as a decimal.
    pub(crate) decimals: u32,
    /// Whether a set may stand for a relation that is the prediction, `(1, 2)` for `1 < x < 2`.
    pub(crate) relation_for_set: bool,
}

pub(crate) fn same(gold: &Answer, answer: &Answer, rules: Rules, work: &Work) -> bool {
    compare(gold, answer, rules, work).unwrap_or(false)
}

fn equation(answer: &Answer) -> bool {
    matches!(answer, Answer::Relations(chain) if chain.iter().all(|(_, relation, _)| *relation == Relation::Equal))
}

/// `x = …` or `(p, q) = …`: names alone on the left.
fn assignment(answer: &Answer) -> bool {
    let names = |left: &Answer| match left {
        Answer::Expr(expr) => expr.is_name(),
        Answer::Tuple(items) | Answer::Set(items) => items.iter().all(|item| item.as_expr().is_some_and(Expr::is_name)),
        Answer::Interval { low, high, .. } => low.is_name() && high.is_name(),
        _ => false,
    };
    equation(answer)
        && matches!(answer, Answer::Relations(chain) if chain.first().is_some_and(|(left, ..)| names(left)))
}

fn last_side(answer: &Answer) -> Answer {
    match answer {
        Answer::Relations(chain) => chain.last().map_or_else(|| answer.clone(), |(_, _, right)| right.clone()),
        other => other.clone(),
    }
}

/// `x = 1 + 1 = 2` says `x = 2`.
fn shortened(answer: &Answer) -> Answer {
    match answer {
        Answer::Relations(chain) if assignment(answer) && chain.len() > 1 => {
            let left = chain[0].0.clone();
            Answer::Relations(vec![(left, Relation::Equal, last_side(answer))])
        }
        other => other.clone(),
    }
}

fn compare(gold: &Answer, answer: &Answer, rules: Rules, work: &Work) -> Option<bool> {
    work.step()?;
    if let (Answer::Expr(a), Answer::Expr(b)) = (gold, answer) {
        return Some(same_expr(a, b, rules, work));
    }
    let (mut gold, mut answer) = (shortened(gold), shortened(answer));
    if equation(&answer) && !equation(&gold) {
        answer = last_side(&answer);
    } else if assignment(&gold) && !equation(&answer) {
        gold = last_side(&gold);
    }
    if answer.is_set() {
        gold = as_set(gold);
    }
    if rules.relation_for_set && gold.is_set() {
        answer = as_set(answer);
    }
    if gold == answer {
        return Some(true);
    }
    match (&gold, &answer) {
        (Answer::Expr(a), Answer::Expr(b)) => Some(same_expr(a, b, rules, work)),
        (Answer::Relations(a), Answer::Relations(b)) => {
            if a.len() != b.len() {
                return Some(false);
            }
            let chain =
                |b: &[(Answer, Relation, Answer)]| a.iter().zip(b).all(|(a, b)| same_relation(a, b, rules, work));
            // `a < x < b` is `b > x > a` from the other end.
            let turned: Vec<_> = b.iter().rev().map(|(l, r, h)| (h.clone(), r.flipped(), l.clone())).collect();
            Some(chain(b) || chain(&turned))
        }
        (Answer::Relations(_), _) | (_, Answer::Relations(_)) => Some(false),
        _ => same_set(&gold, &answer, rules, work),
    }
}

fn same_relation(
    gold: &(Answer, Relation, Answer),
    answer: &(Answer, Relation, Answer),
    rules: Rules,
    work: &Work,
) -> bool {
    let ((gl, gr, gh), (al, ar, ah)) = (gold, answer);
    let sides = |a: &Answer, b: &Answer| Some(a.as_expr()?.clone().minus(b.as_expr()?.clone()));
    let (Some(g), Some(a)) = (sides(gl, gh), sides(al, ah)) else {
        // A side that is a set: both sides alike.
        return gr == ar && same(gl, al, rules, work) && same(gh, ah, rules, work);
    };
    // The same but for decimals, which a ratio does not forgive.
    let both = |a: &Answer, b: &Answer| same(a, b, rules, work);
    if (gr == ar && both(gl, al) && both(gh, ah)) || (*gr == ar.flipped() && both(gl, ah) && both(gh, al)) {
        return true;
    }
    match ratio(&g, &a, work) {
        None => gr == ar && *gr == Relation::Equal && (solves((al, ah), &g, work) || solves((gl, gh), &a, work)),
        Some(_) if matches!(gr, Relation::Equal | Relation::Unequal) => gr == ar,
        Some(ratio) if ratio > 0.0 => gr == ar,
        Some(_) => *gr == ar.flipped(),
    }
}

/// Whether `name = value` is what `zero = 0` says of the name: it holds there, and nowhere else, `zero` being linear in it.
fn solves((left, right): (&Answer, &Answer), zero: &Expr, work: &Work) -> bool {
    let (name, value) = match (left.as_expr(), right.as_expr()) {
        (Some(Expr::Symbol(name)), Some(value)) | (Some(value), Some(Expr::Symbol(name))) => (name, value),
        _ => return false,
    };
    let at = |by: &Expr| substituted(zero, name, by, work);
    let free = substituted(value, name, &Expr::integer(0), work).is_some_and(|other| other == *value);
    let (Some(there), Some(a), Some(b), Some(c)) =
        (at(value), at(&Expr::integer(1)), at(&Expr::integer(2)), at(&Expr::integer(3)))
    else {
        return false;
    };
    let bent = Expr::Sum(vec![a.clone(), b.clone().negated(), b.clone().negated(), c]);
    free && agree(&there, &Expr::integer(0), work) && agree(&bent, &Expr::integer(0), work) && !agree(&a, &b, work)
}

/// The constant by which `a` is `b`, where there is one: the same equation up to a factor.
fn ratio(a: &Expr, b: &Expr, work: &Work) -> Option<f64> {
    let mut found: Option<f64> = None;
    let mut points = 0;
    for seed in 0..12 {
        let point = Point::Real(seed);
        let (Some((x, sx)), Some((y, sy))) = (complex(a, point, work), complex(b, point, work)) else { continue };
        if x.norm() < 1e-9 * sx.max(1.0) || y.norm() < 1e-9 * sy.max(1.0) {
            continue;
        }
        let quotient = x / y;
        if quotient.im.abs() > 1e-9 * quotient.norm() {
            return None;
        }
        match found {
            Some(known) if (known - quotient.re).abs() > 1e-9 * known.abs() => return None,
            _ => found = Some(quotient.re),
        }
        points += 1;
    }
    if points < 4 {
        return None;
    }
    // Coefficients too long for double precision are told apart modulo a prime.
    let scale = found?;
    if let (Some(x), Some(y), Some(u), Some(v)) =
        (modular(a, 1, work), modular(b, 1, work), modular(a, 2, work), modular(b, 2, work))
    {
        let cross = |a: u64, b: u64| u128::from(a) * u128::from(b) % ((1 << 61) - 1);
        if cross(x, v) != cross(y, u) {
            return None;
        }
    }
    Some(scale)
}
