//! Why a value is missing: the terms and the parts of the rollout that lack one.

use super::ast::Binary;
use super::check::Checked;
use super::eval::{Frame, eval};
use super::functions::{Gives, Shape};
use super::node::{Each, Node, RegexKind, Variable};
use crate::Value;
use crate::registry::Absent;

/// The names of the terms, fields and tags without a value that leave `total` without one, each once. There is none where a
/// function alone gave no value, as a division by zero does. `terms` are those before it, which `frame` has the values of.
pub(crate) fn absent(total: &Checked, terms: &[(&str, &Checked)], frame: &Frame<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    collect(&total.node, terms, frame, &mut |name| {
        if !names.contains(&name) {
            names.push(name);
        }
    });
    names
}

fn collect(node: &Node, terms: &[(&str, &Checked)], frame: &Frame<'_>, found: &mut dyn FnMut(String)) {
    let is_missing = || matches!(eval(node, frame), Ok(value) if value.is_missing());
    match node {
        Node::Term(index) => {
            if let (Some(Value::Missing), Some((name, term))) = (frame.terms.get(*index), terms.get(*index)) {
                found((*name).to_owned());
                collect(&term.node, &terms[..*index], frame, found);
            }
        }
        Node::Field(path) if is_missing() => found(format!("fields.{}", path.join("."))),
        Node::Variable(variable) if is_missing() => found(name(*variable).to_owned()),
        Node::Binary(Binary::Coalesce, left, right) => {
            // Where the second value is there, the first does not matter.
            let mut matters = false;
            collect(right, terms, frame, &mut |_| matters = true);
            let both = [left, right].into_iter().filter(|_| matters);
            both.for_each(|of| collect(of, terms, frame, found));
        }
        _ => parts(node).into_iter().for_each(|part| collect(part, terms, frame, found)),
    }
}

/// The parts of an expression that leave it without a value where they have none. A condition always has one.
fn parts(node: &Node) -> Vec<&Node> {
    match node {
        Node::Binary(
            Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Remainder,
            left,
            right,
        )
        | Node::Index(left, right)
        | Node::If(_, left, right)
        | Node::Let(_, left, right) => vec![left, right],
        Node::Negate(of) | Node::Member(of, _) => vec![of],
        Node::Call(function, args) if function.gives != Gives::Boolean => {
            let whatever = |index: usize| function.params[index.min(function.params.len() - 1)] == Shape::Whatever;
            let each = args.iter().enumerate().filter(|(index, _)| function.partial || !whatever(*index));
            each.map(|(_, arg)| arg).collect()
        }
        Node::Regex(call) if !matches!(call.kind, RegexKind::Matches | RegexKind::FullMatch) => vec![&call.text],
        Node::Each(kind, list, ..) if !matches!(kind, Each::Any | Each::All) => vec![list],
        Node::Verify(verifier, args) => {
            let params = verifier.signature.params.iter().map(|param| param.absent);
            let each = args.iter().zip(params).filter(|(_, absent)| *absent == Absent::Missing);
            each.map(|(arg, _)| arg).collect()
        }
        _ => Vec::new(),
    }
}

fn name(variable: Variable) -> &'static str {
    Variable::ALL.iter().find(|(_, known)| *known == variable).map_or("", |(name, _)| name)
}
