//! Checks of operators and branches.

use super::ast::{Binary, Expr, Fault, Kind, Span, Unary};
use super::check::{Checker, Found, mismatch};
use super::node::{Facts, Node, Range};
use crate::{Type, Value};

impl Checker<'_> {
    pub(super) fn unary(&mut self, operator: Unary, operand: &Expr) -> Found {
        match operator {
            Unary::Negate => {
                let (node, facts) = self.number(operand, "`-`")?;
                let range = Range { low: -facts.range.high, high: -facts.range.low };
                Ok((Node::Negate(Box::new(node)), Facts { kind: Type::Number, range, ..facts }))
            }
            Unary::Not => {
                let (node, facts) = self.condition(operand, "`not`")?;
                let facts = Facts { depends: facts.depends, ..Facts::of(Type::Bool) };
                Ok((Node::Not(Box::new(node)), facts))
            }
        }
    }

    pub(super) fn binary(&mut self, operator: Binary, left: &Expr, right: &Expr, span: Span) -> Found {
        let place = format!("`{}`", operator.symbol());
        let ((l, lf), (r, rf)) = match operator {
            Binary::Or | Binary::And => (self.condition(left, &place)?, self.condition(right, &place)?),
            Binary::Equal | Binary::Unequal | Binary::In | Binary::Coalesce => (self.expr(left)?, self.expr(right)?),
            Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual => {
                let (l, lf) = self.expr(left)?;
                if lf.kind == Type::Text {
                    let (r, rf) = self.expr(right)?;
                    if !rf.kind.fits(&Type::Text) {
                        return Err(mismatch(right.span, &place, "text", &rf.kind));
                    }
                    ((l, lf), (r, rf))
                } else {
                    (self.number(left, &place)?, self.number(right, &place)?)
                }
            }
            _ => (self.number(left, &place)?, self.number(right, &place)?),
        };
        let depends = lf.depends.and(rf.depends);
        let missing = lf.missing || rf.missing;
        let arithmetic = |range| Facts { missing, depends, range, ..Facts::of(Type::Number) };
        let truth = Facts { depends, ..Facts::of(Type::Bool) };
        let facts = match operator {
            Binary::Add => arithmetic(lf.range.corners(rf.range, |a, b| a + b)),
            Binary::Subtract => {
                let other = Range { low: -rf.range.high, high: -rf.range.low };
                arithmetic(lf.range.corners(other, |a, b| a + b))
            }
            Binary::Multiply => {
                let product = |a: f64, b: f64| if a == 0.0 || b == 0.0 { 0.0 } else { a * b };
                let range = if left == right {
                    // A square is never negative.
                    let square = lf.range.corners(lf.range, product);
                    Range { low: if lf.range.contains(0.0) { 0.0 } else { square.low.max(0.0) }, ..square }
                } else {
                    lf.range.corners(rf.range, product)
                };
                arithmetic(range)
            }
            Binary::Divide | Binary::Remainder => {
                self.divisor(right, rf.range, operator);
                let range = if operator == Binary::Divide && !rf.range.contains(0.0) {
                    lf.range.corners(rf.range, |a, b| if a == 0.0 { 0.0 } else { a / b })
                } else {
                    Range::ANY
                };
                let zero = rf.range.contains(0.0) && !self.nonzero.contains(right);
                Facts { missing: missing || zero, ..arithmetic(range) }
            }
            Binary::Coalesce => {
                if !lf.missing {
                    let fault =
                        Fault::warning(left.span, "this is never missing", "so what follows `??` is never used");
                    self.faults.push(fault);
                }
                if !rf.kind.fits(&lf.kind) {
                    return Err(mismatch(right.span, &place, &lf.kind.to_string(), &rf.kind));
                }
                let kind = if lf.kind == Type::Any { rf.kind.clone() } else { lf.kind.clone() };
                let range = if lf.kind == Type::Any { Range::ANY } else { lf.range.union(rf.range) };
                Facts { kind, missing: rf.missing, range, depends }
            }
            Binary::Equal | Binary::Unequal => {
                if !lf.kind.fits(&rf.kind) {
                    let message = format!("a {} is never equal to a {}", lf.kind, rf.kind);
                    return Err(Fault::error(span, message, "compares different types"));
                }
                truth
            }
            Binary::In => {
                let fits = match &rf.kind {
                    Type::List(of) => lf.kind.fits(of),
                    Type::Text => lf.kind.fits(&Type::Text),
                    Type::Any => true,
                    _ => false,
                };
                if !fits {
                    let message = format!("a {} is never in a {}", lf.kind, rf.kind);
                    return Err(Fault::error(span, message, "`in` looks for a text in a text, or an item in a list"));
                }
                truth
            }
            _ => truth,
        };
        Ok((Node::Binary(operator, Box::new(l), Box::new(r)), facts))
    }

    pub(super) fn divisor(&mut self, divisor: &Expr, range: Range, operator: Binary) {
        if !range.contains(0.0) || self.nonzero.contains(divisor) {
            return;
        }
        let always = range == Range::point(0.0);
        let message = if always { "this divides by zero" } else { "this can divide by zero" };
        let label = match (always, range.low.is_finite(), range.high.is_finite()) {
            (true, ..) => "always 0".to_owned(),
            (_, true, true) => format!("between {} and {}", range.low, range.high),
            (_, true, false) => format!("{} or more", range.low),
            _ => "any number".to_owned(),
        };
        let help = if range.low >= 0.0 {
            format!("write `… {} max(…, 1)`, or test it: `if … > 0 then … else …`", operator.symbol())
        } else {
            "test it: `if … != 0 then … else …`".to_owned()
        };
        self.faults.push(Fault::error(divisor.span, message, label).help(help));
    }

    pub(super) fn branches(&mut self, condition: &Expr, yes: &Expr, no: &Expr) -> Found {
        let (test, test_facts) = self.condition(condition, "the condition of `if`")?;
        if let Node::Constant(Value::Bool(value)) = test {
            let message = format!("this condition is always {value}");
            self.faults.push(Fault::warning(condition.span, message, "one branch is never taken"));
        }
        let known = self.nonzero.len();
        nonzero_when_true(condition, &mut self.nonzero);
        let first = self.expr(yes);
        self.nonzero.truncate(known);
        nonzero_when_false(condition, &mut self.nonzero);
        let second = self.expr(no);
        self.nonzero.truncate(known);
        let ((yes_node, yf), (no_node, nf)) = (first?, second?);
        if !nf.kind.fits(&yf.kind) {
            let message = format!("the branches of `if` differ: a {} and a {}", yf.kind, nf.kind);
            return Err(Fault::error(no.span, message, format!("this is a {}", nf.kind)));
        }
        let kind = if yf.kind == Type::Any { nf.kind } else { yf.kind };
        let facts = Facts {
            kind,
            missing: yf.missing || nf.missing,
            range: yf.range.union(nf.range),
            depends: test_facts.depends.and(yf.depends).and(nf.depends),
        };
        Ok((Node::If(Box::new(test), Box::new(yes_node), Box::new(no_node)), facts))
    }
}

fn is_zero(expr: &Expr) -> bool {
    matches!(expr.kind, Kind::Number(0.0))
}

fn is_positive(expr: &Expr) -> bool {
    matches!(expr.kind, Kind::Number(number) if number > 0.0)
}

/// What cannot be 0 where the condition holds: `x` in `x > 0`, `x != 0`, `x >= 1`, `a and b`.
fn nonzero_when_true(condition: &Expr, out: &mut Vec<Expr>) {
    let Kind::Binary(operator, left, right) = &condition.kind else { return };
    match operator {
        Binary::And => {
            nonzero_when_true(left, out);
            nonzero_when_true(right, out);
        }
        Binary::Greater if is_zero(right) || is_positive(right) => out.push((**left).clone()),
        Binary::Less if is_zero(left) || is_positive(left) => out.push((**right).clone()),
        Binary::GreaterEqual if is_positive(right) => out.push((**left).clone()),
        Binary::LessEqual if is_positive(left) => out.push((**right).clone()),
        Binary::Unequal if is_zero(right) => out.push((**left).clone()),
        Binary::Unequal if is_zero(left) => out.push((**right).clone()),
        _ => {}
    }
}

/// What cannot be 0 where the condition fails: `x` in `x == 0`.
fn nonzero_when_false(condition: &Expr, out: &mut Vec<Expr>) {
    let Kind::Binary(operator, left, right) = &condition.kind else { return };
    match operator {
        Binary::Or => {
            nonzero_when_false(left, out);
            nonzero_when_false(right, out);
        }
        Binary::Equal if is_zero(right) => out.push((**left).clone()),
        Binary::Equal if is_zero(left) => out.push((**right).clone()),
        _ => {}
    }
}
