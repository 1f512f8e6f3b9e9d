//! Sets as parts of the real line, joined, met and cut.

use super::expr::{Answer, Expr};
use super::numeric::{Work, real};

/// A part of the real line.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) low: Expr,
    pub(super) high: Expr,
    pub(super) low_open: bool,
    pub(super) high_open: bool,
    at: (f64, f64),
}

/// The parts of the line a set covers, from left to right and joined where they touch.
pub(super) fn line(answer: &Answer, work: &Work) -> Option<Vec<Piece>> {
    let mut pieces = pieces(answer, work)?;
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

pub(super) fn pieces(answer: &Answer, work: &Work) -> Option<Vec<Piece>> {
    match answer {
        Answer::Interval { low, high, low_open, high_open } => {
            let at = (real(low, work)?, real(high, work)?);
            let (low_open, high_open) = (*low_open || at.0.is_infinite(), *high_open || at.1.is_infinite());
            Some(vec![Piece { low: low.clone(), high: high.clone(), low_open, high_open, at }])
        }
        Answer::Set(items) => items
            .iter()
            .map(|item| {
                let expr = item.as_expr()?;
                let at = real(expr, work)?;
                Some(Piece { low: expr.clone(), high: expr.clone(), low_open: false, high_open: false, at: (at, at) })
            })
            .collect(),
        Answer::Union(parts) => Some(parts.iter().map(|part| pieces(part, work)).collect::<Option<Vec<_>>>()?.concat()),
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
            let mut parts = parts.iter().map(|part| line(part, work));
            let first = parts.next()??;
            parts.try_fold(first, |left, right| Some(intersection(&left, &right?)))
        }
        Answer::Difference(whole, without) => {
            let mut left = line(whole, work)?;
            for hole in line(without, work)? {
                left = left.iter().flat_map(|piece| minus(piece, &hole)).collect();
            }
            Some(left)
        }
        _ => None,
    }
}

pub(super) fn intersection(a: &[Piece], b: &[Piece]) -> Vec<Piece> {
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
pub(super) fn minus(piece: &Piece, hole: &Piece) -> Vec<Piece> {
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
