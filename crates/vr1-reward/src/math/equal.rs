//! Whether two answers are the same, the way Math-Verify judges it: not symmetric, the first is the reference.

use num_complex::Complex64;
use num_rational::BigRational;
use num_traits::ToPrimitive;

use super::expr::{Answer, Expr, Relation};
use super::numeric::{Point, Work, complex, exact, modular, real, substituted};

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
        let point = Point::real(seed);
        let (Some((x, sx)), Some((y, sy))) = (complex(a, &point, work), complex(b, &point, work)) else { continue };
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

/// The set an inequality of one name describes; anything else stays as it is.
fn as_set(answer: Answer) -> Answer {
    let Answer::Relations(chain) = &answer else { return answer };
    let infinity = || Expr::Infinity;
    let mut low: Option<(Expr, bool)> = None;
    let mut high: Option<(Expr, bool)> = None;
    let mut name: Option<&Expr> = None;
    for (left, relation, right) in chain {
        let (Some(left), Some(right)) = (left.as_expr(), right.as_expr()) else { return answer };
        let (variable, relation, bound) = match (left, right) {
            (Expr::Symbol(_), bound) => (left, *relation, bound),
            (bound, Expr::Symbol(_)) => (right, relation.flipped(), bound),
            _ => return answer,
        };
        if name.is_some_and(|known| known != variable) {
            return answer;
        }
        name = Some(variable);
        let bound = bound.clone();
        match relation {
            Relation::Less => high = Some((bound, true)),
            Relation::LessEqual => high = Some((bound, false)),
            Relation::Greater => low = Some((bound, true)),
            Relation::GreaterEqual => low = Some((bound, false)),
            Relation::Unequal if chain.len() == 1 => {
                let below = Answer::Interval {
                    low: infinity().negated(),
                    high: bound.clone(),
                    low_open: true,
                    high_open: true,
                };
                let above = Answer::Interval { low: bound, high: infinity(), low_open: true, high_open: true };
                return Answer::Union(vec![below, above]);
            }
            _ => return answer,
        }
    }
    let (low, low_open) = low.unwrap_or((infinity().negated(), true));
    let (high, high_open) = high.unwrap_or((infinity(), true));
    Answer::Interval { low, high, low_open, high_open }
}

fn same_set(gold: &Answer, answer: &Answer, rules: Rules, work: &Work) -> Option<bool> {
    work.step()?;
    if let (Some(a), Some(b)) = (line(gold), line(answer))
        && !(matches!(gold, Answer::Set(_)) && matches!(answer, Answer::Set(_)))
    {
        let ends = |a: &Piece, b: &Piece| {
            a.low_open == b.low_open
                && a.high_open == b.high_open
                && same_expr(&a.low, &b.low, rules, work)
                && same_expr(&a.high, &b.high, rules, work)
        };
        if a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| ends(a, b)) {
            return Some(true);
        }
    }
    let alone = |answer: &Answer| matches!(answer, Answer::Expr(_));
    let (single_gold, single_answer) = (Answer::Set(vec![gold.clone()]), Answer::Set(vec![answer.clone()]));
    let gold = if alone(gold) { &single_gold } else { gold };
    let answer = if alone(answer) { &single_answer } else { answer };
    let open_pair = |answer: &Answer| match answer {
        Answer::Interval { low, high, low_open: true, high_open: true } => {
            Some(vec![Answer::Expr(low.clone()), Answer::Expr(high.clone())])
        }
        _ => None,
    };
    Some(match (gold, answer) {
        (Answer::Set(a), Answer::Set(b)) => same_items(a, b, rules, work),
        (Answer::Tuple(a), Answer::Tuple(b) | Answer::Set(b)) | (Answer::Set(a), Answer::Tuple(b)) => {
            in_order(a, b, rules, work)
        }
        // `(1, 3)` may have been meant as two numbers.
        (interval @ Answer::Interval { .. }, Answer::Set(b) | Answer::Tuple(b)) => {
            open_pair(interval).is_some_and(|a| in_order(&a, b, rules, work))
        }
        (Answer::Tuple(a), interval @ Answer::Interval { .. }) => {
            open_pair(interval).is_some_and(|b| in_order(a, &b, rules, work))
        }
        (Answer::Set(a), interval @ Answer::Interval { .. }) => {
            open_pair(interval).is_some_and(|b| in_order(&ordered(a), &b, rules, work))
        }
        (Answer::Difference(a, b), Answer::Difference(c, d)) => same(a, c, rules, work) && same(b, d, rules, work),
        (Answer::Union(a), Answer::Union(b)) | (Answer::Intersection(a), Answer::Intersection(b)) => {
            same_items(a, b, rules, work)
        }
        _ => false,
    })
}

fn in_order(a: &[Answer], b: &[Answer], rules: Rules, work: &Work) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, rules, work))
}

/// Numbers from the least to the greatest, the rest as it stands.
fn ordered(items: &[Answer]) -> Vec<Answer> {
    let mut items = items.to_vec();
    items.sort_by(|a, b| match (a.as_expr().and_then(real), b.as_expr().and_then(real)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => std::cmp::Ordering::Equal,
    });
    items
}

/// The same elements in any order, each once.
fn same_items(a: &[Answer], b: &[Answer], rules: Rules, work: &Work) -> bool {
    let distinct = |items: &[Answer]| {
        let mut kept: Vec<Answer> = Vec::new();
        for item in items {
            if !kept.contains(item) {
                kept.push(item.clone());
            }
        }
        kept
    };
    let (a, mut left) = (distinct(a), distinct(b));
    if a.len() != left.len() {
        return false;
    }
    a.iter().all(|item| {
        let found = left.iter().position(|other| same(item, other, rules, work));
        found.map(|at| left.swap_remove(at)).is_some()
    })
}

/// A part of the real line.
#[derive(Debug, Clone)]
struct Piece {
    low: Expr,
    high: Expr,
    low_open: bool,
    high_open: bool,
    at: (f64, f64),
}

/// The parts of the line a set covers, from left to right and joined where they touch.
fn line(answer: &Answer) -> Option<Vec<Piece>> {
    let mut pieces = pieces(answer)?;
    pieces.sort_by(|a, b| a.at.0.total_cmp(&b.at.0).then(a.low_open.cmp(&b.low_open)));
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        if let Some(last) = joined.last_mut() {
            let touches = piece.at.0 < last.at.1 || (piece.at.0 == last.at.1 && !(piece.low_open && last.high_open));
            if touches {
                let further = piece.at.1 > last.at.1 || (piece.at.1 == last.at.1 && !piece.high_open);
                if further {
                    (last.high, last.high_open, last.at.1) = (piece.high, piece.high_open, piece.at.1);
                }
                continue;
            }
        }
        joined.push(piece);
    }
    Some(joined)
}

fn pieces(answer: &Answer) -> Option<Vec<Piece>> {
    match answer {
        Answer::Interval { low, high, low_open, high_open } => {
            let at = (real(low)?, real(high)?);
            let (low_open, high_open) = (*low_open || at.0.is_infinite(), *high_open || at.1.is_infinite());
            Some(vec![Piece { low: low.clone(), high: high.clone(), low_open, high_open, at }])
        }
        Answer::Set(items) => items
            .iter()
            .map(|item| {
                let expr = item.as_expr()?;
                let at = real(expr)?;
                Some(Piece { low: expr.clone(), high: expr.clone(), low_open: false, high_open: false, at: (at, at) })
            })
            .collect(),
        Answer::Union(parts) => Some(parts.iter().map(pieces).collect::<Option<Vec<_>>>()?.concat()),
        Answer::Named('R') => {
            let at = (f64::NEG_INFINITY, f64::INFINITY);
            Some(vec![Piece {
                low: Expr::Infinity.negated(),
                high: Expr::Infinity,
                low_open: true,
                high_open: true,
                at,
            }])
        }
        Answer::Intersection(parts) => {
            let mut parts = parts.iter().map(line);
            let first = parts.next()??;
            parts.try_fold(first, |left, right| Some(intersection(&left, &right?)))
        }
        Answer::Difference(whole, without) => {
            let mut left = line(whole)?;
            for hole in line(without)? {
                left = left.iter().flat_map(|piece| minus(piece, &hole)).collect();
            }
            Some(left)
        }
        _ => None,
    }
}

fn intersection(a: &[Piece], b: &[Piece]) -> Vec<Piece> {
    let mut out = Vec::new();
    for a in a {
        for b in b {
            let (low, low_open) = match a.at.0.total_cmp(&b.at.0) {
                std::cmp::Ordering::Greater => (a, a.low_open),
                std::cmp::Ordering::Less => (b, b.low_open),
                std::cmp::Ordering::Equal => (a, a.low_open || b.low_open),
            };
            let (high, high_open) = match a.at.1.total_cmp(&b.at.1) {
                std::cmp::Ordering::Less => (a, a.high_open),
                std::cmp::Ordering::Greater => (b, b.high_open),
                std::cmp::Ordering::Equal => (a, a.high_open || b.high_open),
            };
            let at = (low.at.0, high.at.1);
            if at.0 < at.1 || (at.0 == at.1 && !low_open && !high_open) {
                out.push(Piece { low: low.low.clone(), high: high.high.clone(), low_open, high_open, at });
            }
        }
    }
    out
}

/// What is left of a piece without a hole.
fn minus(piece: &Piece, hole: &Piece) -> Vec<Piece> {
    let below = Piece {
        low: Expr::Infinity.negated(),
        high: hole.low.clone(),
        low_open: true,
        high_open: !hole.low_open,
        at: (f64::NEG_INFINITY, hole.at.0),
    };
    let above = Piece {
        low: hole.high.clone(),
        high: Expr::Infinity,
        low_open: !hole.high_open,
        high_open: true,
        at: (hole.at.1, f64::INFINITY),
    };
    intersection(std::slice::from_ref(piece), &[below, above])
}

fn number(expr: &Expr) -> Option<(&BigRational, bool)> {
    match expr {
        Expr::Number { value, decimal } => Some((value, *decimal)),
        Expr::Percent(of) => number(of),
        _ => None,
    }
}

fn same_expr(gold: &Expr, answer: &Expr, rules: Rules, work: &Work) -> bool {
    compare_expr(gold, answer, rules, work).unwrap_or(false)
}

fn compare_expr(gold: &Expr, answer: &Expr, rules: Rules, work: &Work) -> Option<bool> {
    work.step()?;
    if gold == answer {
        return Some(true);
    }
    // A word is compared as a word: `\text{Even}` and `Even`.
    if matches!(gold, Expr::Symbol(_)) || matches!(answer, Expr::Symbol(_)) {
        return Some(matches!((gold.word(), answer.word()), (Some(a), Some(b)) if a == b));
    }
    if let (Expr::Infinity, _) | (_, Expr::Infinity) = (gold, answer) {
        return Some(real(gold) == real(answer) && real(gold).is_some());
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
        (Some((a, false)), Some((b, false))) if percent && a.is_integer() && b.is_integer() => return Some(a == b),
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
fn rounded(expr: &Expr, rules: Rules, work: &Work) -> Option<i128> {
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
    let value = real(expr)? * scale;
    (value.abs() < 1e30).then(|| value.round_ties_even() as i128)
}

/// Whether both take the same values at sample points, to ten digits of the greatest number on the way.
///
/// Nine real points of either sign; a point where either has no value does not count, and four must be left. One point
/// will do where there is no symbol.
fn agree(a: &Expr, b: &Expr, work: &Work) -> bool {
    let close = |(x, sx): (Complex64, f64), (y, sy): (Complex64, f64)| {
        let size = x.norm().max(y.norm());
        (x - y).norm() <= 1e-10 * size + 1e-13 * sx.max(sy)
    };
    if let (Some(x), Some(y)) = (complex(a, &Point::none(), work), complex(b, &Point::none(), work)) {
        return close(x, y);
    }
    let mut points = 0;
    for seed in 0..9 {
        let point = Point::real(seed);
        match (complex(a, &point, work), complex(b, &point, work)) {
            (Some(x), Some(y)) if close(x, y) => points += 1,
            (Some(_), Some(_)) => return false,
            _ => {}
        }
    }
    points >= 4 || (points == 0 && structural(a, b, work))
}

/// The same parts in any order, for what has no value.
fn structural(a: &Expr, b: &Expr, work: &Work) -> bool {
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

/// A matrix that sums and products of matrices come to; `None` where there is no matrix, or no such thing.
fn evaluated(expr: &Expr, work: &Work) -> Option<Expr> {
    work.step()?;
    match expr {
        Expr::Matrix { .. } => Some(expr.clone()),
        Expr::Sum(parts) => {
            let mut parts = parts.iter();
            let first = evaluated(parts.next()?, work)?;
            parts.try_fold(first, |left, right| {
                let (Expr::Matrix { columns, cells: a }, Expr::Matrix { columns: other, cells: b }) =
                    (left, evaluated(right, work)?)
                else {
                    return None;
                };
                if columns != other || a.len() != b.len() {
                    return None;
                }
                let cells = a.into_iter().zip(b).map(|(a, b)| Expr::Sum(vec![a, b])).collect();
                Some(Expr::Matrix { columns, cells })
            })
        }
        Expr::Product(parts) => {
            if !parts.iter().any(holds_matrix) {
                return None;
            }
            let mut parts = parts.iter();
            let first = parts.next()?;
            let first = evaluated(first, work).unwrap_or_else(|| first.clone());
            parts.try_fold(first, |left, right| {
                let right = evaluated(right, work).unwrap_or_else(|| right.clone());
                multiplied(left, right, work)
            })
        }
        Expr::Power(base, exponent) => {
            let base = evaluated(base, work)?;
            let n = exact(exponent, work)?;
            let n = n.is_integer().then(|| n.to_integer().to_u32()).flatten().filter(|n| (1..=16).contains(n))?;
            (1..n).try_fold(base.clone(), |product, _| multiplied(product, base.clone(), work))
        }
        _ => None,
    }
}

fn holds_matrix(expr: &Expr) -> bool {
    match expr {
        Expr::Matrix { .. } => true,
        Expr::Sum(parts) | Expr::Product(parts) => parts.iter().any(holds_matrix),
        Expr::Power(base, _) => holds_matrix(base),
        _ => false,
    }
}

fn multiplied(left: Expr, right: Expr, work: &Work) -> Option<Expr> {
    match (left, right) {
        (Expr::Matrix { columns: n, cells: a }, Expr::Matrix { columns, cells: b }) => {
            if b.len() != n * columns {
                return None;
            }
            let rows = a.len() / n;
            let mut cells = Vec::with_capacity(rows * columns);
            for row in 0..rows {
                for column in 0..columns {
                    let mut parts = Vec::with_capacity(n);
                    for k in 0..n {
                        work.step()?;
                        parts.push(Expr::Product(vec![a[row * n + k].clone(), b[k * columns + column].clone()]));
                    }
                    cells.push(Expr::Sum(parts));
                }
            }
            Some(Expr::Matrix { columns, cells })
        }
        (Expr::Matrix { columns, cells }, scalar) | (scalar, Expr::Matrix { columns, cells }) => {
            let cells = cells.into_iter().map(|cell| Expr::Product(vec![scalar.clone(), cell])).collect();
            Some(Expr::Matrix { columns, cells })
        }
        (a, b) => Some(Expr::Product(vec![a, b])),
    }
}
