//! Sets, tuples and intervals: which of them are the same.

use super::equal::{Rules, same};
use super::expr::{Answer, Expr, Relation};
use super::line::{Piece, line};
use super::numeric::{Work, real};
use super::values::same_expr;

/// The set an inequality of one name describes; anything else stays as it is.
pub(super) fn as_set(answer: Answer) -> Answer {
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

pub(super) fn same_set(gold: &Answer, answer: &Answer, rules: Rules, work: &Work) -> Option<bool> {
    work.step()?;
    if let (Some(a), Some(b)) = (line(gold, work), line(answer, work))
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
            open_pair(interval).is_some_and(|b| in_order(&ordered(a, work), &b, rules, work))
        }
        (Answer::Difference(a, b), Answer::Difference(c, d)) => same(a, c, rules, work) && same(b, d, rules, work),
        (Answer::Union(a), Answer::Union(b)) | (Answer::Intersection(a), Answer::Intersection(b)) => {
            same_items(a, b, rules, work)
        }
        _ => false,
    })
}

pub(super) fn in_order(a: &[Answer], b: &[Answer], rules: Rules, work: &Work) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, rules, work))
}

/// Numbers from the least to the greatest, the rest as it stands.
pub(super) fn ordered(items: &[Answer], work: &Work) -> Vec<Answer> {
    let value = |item: &Answer| item.as_expr().and_then(|expr| real(expr, work));
    let mut valued: Vec<(Option<f64>, &Answer)> = items.iter().map(|item| (value(item), item)).collect();
    if valued.iter().all(|(value, _)| value.is_some()) {
        valued.sort_by(|(a, _), (b, _)| a.unwrap_or(0.0).total_cmp(&b.unwrap_or(0.0)));
    }
    valued.into_iter().map(|(_, item)| item.clone()).collect()
}

/// The same elements in any order, each once.
pub(super) fn same_items(a: &[Answer], b: &[Answer], rules: Rules, work: &Work) -> bool {
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
