//! Checks of calls of verifiers, against their signatures.

use super::ast::{Arg, Fault, Form, Span, Word};
use super::check::{Checker, Found, arity, mismatch, nearest};
use super::node::{Depends, Facts, Node, Range};
use crate::registry::{Absent, Verifier};
use crate::{Type, Value};

impl Checker<'_> {
    pub(super) fn verify(&mut self, verifier: &Verifier, span: Span, args: &[Arg]) -> Found {
        let signature = &verifier.signature;
        let name = &*verifier.name;
        self.waits |= signature.waits;
        let mut given: Vec<Option<&Arg>> = vec![None; signature.params.len()];
        let mut more = Vec::new();
        for (position, arg) in args.iter().enumerate() {
            match &arg.form {
                Form::Plain if position < given.len() => given[position] = Some(arg),
                Form::Plain if signature.variadic => more.push(arg),
                Form::Plain => {
                    let least = signature.params.iter().filter(|param| param.default.is_none()).count();
                    return Err(arity(name, least, Some(given.len()), args.len(), span));
                }
                Form::Named(Word { text: argument, span }) => {
                    let Some(index) = signature.params.iter().position(|param| param.name == argument) else {
                        let fault =
                            Fault::error(*span, format!("`{name}` has no argument `{argument}`"), "unknown argument");
                        let known = signature.params.iter().map(|param| param.name);
                        let all: Vec<String> = known.clone().map(|known| format!("`{known}`")).collect();
                        return Err(match nearest(argument, known) {
                            Some(nearest) => fault.help(format!("did you mean `{nearest}`?")),
                            None if all.is_empty() => fault,
                            None => fault.help(format!("its arguments are {}", all.join(", "))),
                        });
                    };
                    if given[index].is_some() {
                        return Err(Fault::error(*span, format!("`{argument}` is given twice"), "the second time"));
                    }
                    given[index] = Some(arg);
                }
                Form::Each(item) => {
                    return Err(Fault::error(item.span, format!("`{name}` takes no `… => …`"), "not expected here"));
                }
            }
        }
        let mut nodes = Vec::new();
        let mut depends = Depends::default();
        let mut missing = false;
        let mut zero = false;
        for (param, arg) in signature.params.iter().zip(&given) {
            let Some(arg) = arg else {
                let Some(default) = &param.default else {
                    let fault =
                        Fault::error(span, format!("`{name}` needs `{}`", param.name), "an argument is missing");
                    let all: Vec<&str> = signature.params.iter().map(|param| param.name).collect();
                    return Err(fault.help(format!("write `{name}({})`", all.join(", "))));
                };
                nodes.push(Node::Constant(default.clone()));
                continue;
            };
            let (node, facts) = self.expr(&arg.value)?;
            if !facts.kind.fits(&param.kind) {
                let place = format!("`{}` of `{name}`", param.name);
                return Err(mismatch(arg.value.span, &place, &param.kind.to_string(), &facts.kind));
            }
            choice(param, &node, arg.value.span)?;
            match param.absent {
                Absent::Zero => zero |= facts.missing,
                Absent::Missing => missing |= facts.missing,
                Absent::Passed => {}
            }
            depends = depends.and(facts.depends);
            nodes.push(node);
        }
        for arg in more {
            let (node, facts) = self.expr(&arg.value)?;
            depends = depends.and(facts.depends);
            nodes.push(node);
        }
        // A verifier with nothing to look at judges the rollout itself.
        if signature.params.is_empty() && args.is_empty() {
            depends = Depends::ALL;
        }
        let mut range = Range { low: signature.low, high: signature.high };
        if zero {
            range = range.union(Range::point(0.0));
        }
        let facts = Facts { missing, range, depends, ..Facts::of(Type::Number) };
        Ok((Node::Verify(verifier.clone(), nodes), facts))
    }
}

fn choice(param: &crate::Param, node: &Node, span: Span) -> Result<(), Fault> {
    if param.choices.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = param.choices.iter().map(|choice| format!("'{choice}'")).collect();
    match node {
        Node::Constant(Value::Text(text)) if param.choices.contains(&&**text) => Ok(()),
        Node::Constant(Value::Text(text)) => {
            let message = format!("`{}` cannot be '{text}'", param.name);
            Err(Fault::error(span, message, "not one of its choices").help(format!("it is one of {}", all.join(", "))))
        }
        _ => {
            let message = format!("`{}` is written in the program itself", param.name);
            Err(Fault::error(span, message, "must be a quoted text").help(format!("it is one of {}", all.join(", "))))
        }
    }
}
