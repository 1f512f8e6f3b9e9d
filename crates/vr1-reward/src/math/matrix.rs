//! Sums, products and powers of matrices.

use num_traits::ToPrimitive;

use super::exact::exact;
use super::expr::Expr;
use super::numeric::Work;

/// Rows for columns.
pub(super) fn transposed(columns: usize, cells: &[Expr]) -> Expr {
    let turned = (0..columns).flat_map(|column| cells.iter().skip(column).step_by(columns).cloned()).collect();
    Expr::Matrix { columns: cells.len() / columns.max(1), cells: turned }
}

/// The determinant of a square matrix of up to four rows, along its first row.
pub(super) fn determinant(columns: usize, cells: &[Expr]) -> Option<Expr> {
    if columns == 0 || columns > 4 || cells.len() != columns * columns {
        return None;
    }
    if columns == 1 {
        return cells.first().cloned();
    }
    let terms = (0..columns).map(|left_out| {
        let rest: Vec<Expr> = cells[columns..]
            .iter()
            .enumerate()
            .filter(|(at, _)| at % columns != left_out)
            .map(|(_, cell)| cell.clone())
            .collect();
        let term = Expr::Product(vec![cells[left_out].clone(), determinant(columns - 1, &rest)?]);
        Some(if left_out % 2 == 0 { term } else { term.negated() })
    });
    Some(Expr::Sum(terms.collect::<Option<_>>()?))
}

/// A matrix that sums and products of matrices come to; `None` where there is no matrix, or no such thing.
pub(super) fn evaluated(expr: &Expr, work: &Work) -> Option<Expr> {
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

pub(super) fn holds_matrix(expr: &Expr) -> bool {
    match expr {
        Expr::Matrix { .. } => true,
        Expr::Sum(parts) | Expr::Product(parts) => parts.iter().any(holds_matrix),
        Expr::Power(base, _) => holds_matrix(base),
        _ => false,
    }
}

pub(super) fn multiplied(left: Expr, right: Expr, work: &Work) -> Option<Expr> {
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
