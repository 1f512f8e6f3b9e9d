//! The tree to a checked tree: names, types, ranges.

use super::ast::{Expr, Fault, Kind, Span};
use super::functions;
use super::node::{Depends, Each, Facts, GroupCall, GroupKind, Node, Range, RegexKind, Variable};
use crate::{Registry, Type, Value};

/// A checked expression.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) node: Node,
    pub(crate) facts: Facts,
    pub(crate) groups: Vec<GroupCall>,
    pub(crate) uses: Vec<usize>,
    pub(crate) fields: Vec<String>,
    /// Whether a verifier that it calls waits for someone else.
    pub(crate) waits: bool,
}

/// A term that an expression may name.
#[derive(Debug, Clone)]
pub(crate) struct KnownTerm {
    pub(crate) name: String,
    pub(crate) facts: Facts,
}

/// Checks one expression. `later` are terms that exist but come after it.
pub(crate) fn check(
    expr: &Expr,
    registry: &Registry,
    terms: &[KnownTerm],
    later: &[String],
) -> Result<(Checked, Vec<Fault>), Vec<Fault>> {
    let mut checker = Checker {
        registry,
        terms,
        later,
        scope: Vec::new(),
        locals: 0,
        groups: Vec::new(),
        uses: Vec::new(),
        fields: Vec::new(),
        waits: false,
        nonzero: Vec::new(),
        faults: Vec::new(),
    };
    let checked = checker.expr(expr);
    let failed = checker.faults.iter().any(|fault| fault.severity == crate::Severity::Error);
    match checked {
        Ok((node, facts)) if !failed => {
            let Checker { groups, mut uses, fields, waits, faults, .. } = checker;
            uses.sort_unstable();
            uses.dedup();
            Ok((Checked { node, facts, groups, uses, fields, waits }, faults))
        }
        Ok(_) => Err(checker.faults),
        Err(fault) => {
            checker.faults.push(fault);
            Err(checker.faults)
        }
    }
}

pub(super) struct Local {
    pub(super) name: String,
    slot: usize,
    pub(super) facts: Facts,
}

pub(super) struct Checker<'c> {
    pub(super) registry: &'c Registry,
    pub(super) terms: &'c [KnownTerm],
    pub(super) later: &'c [String],
    pub(super) scope: Vec<Local>,
    pub(super) locals: usize,
    pub(super) groups: Vec<GroupCall>,
    pub(super) uses: Vec<usize>,
    pub(super) fields: Vec<String>,
    pub(super) waits: bool,
    /// Expressions that the branch being checked knows to be other than 0.
    pub(super) nonzero: Vec<Expr>,
    pub(super) faults: Vec<Fault>,
}

pub(super) type Found = Result<(Node, Facts), Fault>;

impl Checker<'_> {
    pub(super) fn expr(&mut self, expr: &Expr) -> Found {
        match &expr.kind {
            Kind::Number(number) => {
                let facts = Facts { range: Range::point(*number), ..Facts::of(Type::Number) };
                Ok((Node::Constant(Value::Number(*number)), facts))
            }
            Kind::Text(text) => Ok((Node::Constant(Value::Text(text.clone().into())), Facts::of(Type::Text))),
            Kind::Bool(value) => {
                let range = Range::point(f64::from(*value));
                Ok((Node::Constant(Value::Bool(*value)), Facts { range, ..Facts::of(Type::Bool) }))
            }
            Kind::Missing => Ok((Node::Constant(Value::Missing), Facts { missing: true, ..Facts::of(Type::Any) })),
            Kind::Name(name) => self.name(name, expr.span),
            Kind::Field(of, name) => self.field(of, name, expr.span),
            Kind::Index(of, index) => self.index(of, index),
            Kind::List(items) => self.list(items),
            Kind::Unary(operator, operand) => self.unary(*operator, operand),
            Kind::Binary(operator, left, right) => self.binary(*operator, left, right, expr.span),
            Kind::If(condition, yes, no) => self.branches(condition, yes, no),
            Kind::Let(name, value, body) => {
                let (value, facts) = self.expr(value)?;
                let known = self.nonzero.clone();
                let slot = self.bind(name, facts);
                let body = self.expr(body);
                self.scope.pop();
                self.nonzero = known;
                let (body, facts) = body?;
                Ok((Node::Let(slot, Box::new(value), Box::new(body)), facts))
            }
            Kind::Call(name, args) => self.call(&name.text, name.span, args, expr.span),
        }
    }

    pub(super) fn bind(&mut self, name: &str, facts: Facts) -> usize {
        let slot = self.locals;
        self.locals += 1;
        // What was known of an outer name does not hold for the one that hides it.
        self.nonzero.retain(|known| !known.names(name));
        self.scope.push(Local { name: name.to_owned(), slot, facts });
        slot
    }

    fn name(&mut self, name: &str, span: Span) -> Found {
        if let Some(local) = self.scope.iter().rev().find(|local| local.name == name) {
            return Ok((Node::Local(local.slot), local.facts.clone()));
        }
        if let Some(index) = self.terms.iter().position(|term| term.name == name) {
            self.uses.push(index);
            return Ok((Node::Term(index), self.terms[index].facts.clone()));
        }
        if let Some((_, variable)) = Variable::ALL.iter().find(|(known, _)| *known == name) {
            return Ok((Node::Variable(*variable), variable.facts()));
        }
        if name == "fields" {
            let fault = Fault::error(span, "`fields` is not a value by itself", "which field?");
            return Err(fault.help("write `fields.name`"));
        }
        if self.later.iter().any(|term| term == name) {
            let fault = Fault::error(span, format!("the term `{name}` comes later"), "not known yet here");
            return Err(fault.help("a term may use the terms above it; move it up"));
        }
        if self.is_function(name) {
            let fault = Fault::error(span, format!("`{name}` is a function"), "not called");
            return Err(fault.help(format!("write `{name}(…)`")));
        }
        let known = self.scope.iter().map(|local| local.name.as_str());
        let known = known.chain(self.terms.iter().map(|term| term.name.as_str()));
        let known = known.chain(Variable::ALL.iter().map(|(name, _)| *name)).chain(["fields"]);
        let nearest = nearest(name, known);
        let fault = Fault::error(span, format!("nothing is called `{name}`"), "unknown name");
        Err(match nearest {
            Some(nearest) => fault.help(format!("did you mean `{nearest}`?")),
            None => fault.help(format!("a field of the sample is written `fields.{name}`")),
        })
    }

    fn is_function(&self, name: &str) -> bool {
        self.registry.get(name).is_some()
            || functions::find(name).is_some()
            || RegexKind::ALL.iter().any(|(known, _)| *known == name)
            || Each::ALL.iter().any(|(known, _)| *known == name)
            || GroupKind::ALL.iter().any(|(known, _)| *known == name)
    }

    fn field(&mut self, of: &Expr, name: &str, span: Span) -> Found {
        let facts = Facts { missing: true, depends: Depends::REFERENCE, ..Facts::of(Type::Any) };
        if matches!(&of.kind, Kind::Name(root) if root == "fields") && !self.scope.iter().any(|l| l.name == "fields") {
            self.fields.push(name.to_owned());
            return Ok((Node::Field(vec![name.to_owned()]), facts));
        }
        let (node, inner) = self.expr(of)?;
        if inner.kind != Type::Any {
            let message = format!("a {} has no fields", inner.kind);
            return Err(Fault::error(span, message, format!("this is a {}", inner.kind)));
        }
        let facts = Facts { depends: inner.depends, ..facts };
        Ok(match node {
            Node::Field(mut path) => {
                path.push(name.to_owned());
                (Node::Field(path), facts)
            }
            other => (Node::Member(Box::new(other), name.to_owned()), facts),
        })
    }

    fn index(&mut self, of: &Expr, index: &Expr) -> Found {
        let (list, list_facts) = self.expr(of)?;
        let kind = match &list_facts.kind {
            Type::List(item) => (**item).clone(),
            Type::Any => Type::Any,
            other => {
                return Err(Fault::error(of.span, format!("a {other} has no items"), format!("this is a {other}")));
            }
        };
        let (index_node, index_facts) = self.number(index, "an index")?;
        let depends = list_facts.depends.and(index_facts.depends);
        let facts = Facts { missing: true, depends, ..Facts::of(kind) };
        Ok((Node::Index(Box::new(list), Box::new(index_node)), facts))
    }

    fn list(&mut self, items: &[Expr]) -> Found {
        let mut nodes = Vec::new();
        let mut kind: Option<Type> = None;
        let mut depends = Depends::default();
        for item in items {
            let (node, facts) = self.expr(item)?;
            if let Some(kind) = kind.as_ref().filter(|kind| !facts.kind.fits(kind)) {
                let message = format!("a list holds values of one type: {kind} and {} are here", facts.kind);
                return Err(Fault::error(item.span, message, format!("this is a {}", facts.kind)));
            }
            kind = Some(facts.kind);
            depends = depends.and(facts.depends);
            nodes.push(node);
        }
        let facts = Facts { depends, ..Facts::of(Type::list(kind.unwrap_or(Type::Any))) };
        Ok((Node::List(nodes), facts))
    }

    pub(super) fn number(&mut self, expr: &Expr, place: &str) -> Found {
        let (node, facts) = self.expr(expr)?;
        if facts.kind.fits(&Type::Number) {
            return Ok((node, facts));
        }
        let fault = mismatch(expr.span, place, "number", &facts.kind);
        Err(match facts.kind {
            Type::Bool => fault.help("write `if … then 1 else 0`, or `to_number(…)`"),
            Type::Text => fault.help("`to_number(…)` reads a number out of a text"),
            _ => fault,
        })
    }

    pub(super) fn condition(&mut self, expr: &Expr, place: &str) -> Found {
        let (node, facts) = self.expr(expr)?;
        if facts.kind.fits(&Type::Bool) {
            return Ok((node, facts));
        }
        let fault = mismatch(expr.span, place, "boolean", &facts.kind);
        Err(if facts.kind == Type::Number { fault.help("compare it: `… > 0`") } else { fault })
    }
}

pub(super) fn mismatch(span: Span, place: &str, expected: &str, found: &Type) -> Fault {
    Fault::error(span, format!("{place} needs a {expected}, and this is a {found}"), format!("a {found}"))
}

pub(super) fn arity(name: &str, least: usize, most: Option<usize>, found: usize, span: Span) -> Fault {
    let expected = match most {
        None => format!("at least {least}"),
        Some(most) if most == least => least.to_string(),
        Some(most) => format!("{least} to {most}"),
    };
    let plural = if expected == "1" { "" } else { "s" };
    Fault::error(span, format!("`{name}` takes {expected} argument{plural}, and got {found}"), format!("{found} given"))
}

/// The nearest known name, if it is near enough to be a slip.
pub(crate) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let scored = known.map(|known| (strsim::damerau_levenshtein(name, known), known));
    let (distance, known) = scored.min()?;
    (distance <= 1 + name.chars().count() / 4).then_some(known)
}
