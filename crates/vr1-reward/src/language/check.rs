//! The tree to a checked tree: names, types, ranges.

use regex::Regex;

use super::ast::{Arg, Binary, Expr, Fault, Form, Kind, Span, Unary, Word};
use super::functions::{self, Gives, Shape};
use super::node::{Depends, Each, Facts, GroupCall, GroupKind, Node, Range, RegexCall, RegexKind, Variable};
use crate::registry::{Absent, Verifier};
use crate::{Registry, Type, Value};

/// A checked expression.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) node: Node,
    pub(crate) facts: Facts,
    pub(crate) groups: Vec<GroupCall>,
    pub(crate) uses: Vec<usize>,
    pub(crate) fields: Vec<String>,
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
        nonzero: Vec::new(),
        faults: Vec::new(),
    };
    let checked = checker.expr(expr);
    let failed = checker.faults.iter().any(|fault| fault.severity == crate::Severity::Error);
    match checked {
        Ok((node, facts)) if !failed => {
            let Checker { groups, mut uses, fields, faults, .. } = checker;
            uses.sort_unstable();
            uses.dedup();
            Ok((Checked { node, facts, groups, uses, fields }, faults))
        }
        Ok(_) => Err(checker.faults),
        Err(fault) => {
            checker.faults.push(fault);
            Err(checker.faults)
        }
    }
}

struct Local {
    name: String,
    slot: usize,
    facts: Facts,
}

struct Checker<'c> {
    registry: &'c Registry,
    terms: &'c [KnownTerm],
    later: &'c [String],
    scope: Vec<Local>,
    locals: usize,
    groups: Vec<GroupCall>,
    uses: Vec<usize>,
    fields: Vec<String>,
    /// Expressions that the branch being checked knows to be other than 0.
    nonzero: Vec<Expr>,
    faults: Vec<Fault>,
}

type Found = Result<(Node, Facts), Fault>;

impl Checker<'_> {
    fn expr(&mut self, expr: &Expr) -> Found {
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
                let slot = self.bind(name, facts);
                let body = self.expr(body);
                self.scope.pop();
                let (body, facts) = body?;
                Ok((Node::Let(slot, Box::new(value), Box::new(body)), facts))
            }
            Kind::Call(name, args) => self.call(&name.text, name.span, args, expr.span),
        }
    }

    fn bind(&mut self, name: &str, facts: Facts) -> usize {
        let slot = self.locals;
        self.locals += 1;
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

    fn number(&mut self, expr: &Expr, place: &str) -> Found {
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

    fn condition(&mut self, expr: &Expr, place: &str) -> Found {
        let (node, facts) = self.expr(expr)?;
        if facts.kind.fits(&Type::Bool) {
            return Ok((node, facts));
        }
        let fault = mismatch(expr.span, place, "boolean", &facts.kind);
        Err(if facts.kind == Type::Number { fault.help("compare it: `… > 0`") } else { fault })
    }

    fn unary(&mut self, operator: Unary, operand: &Expr) -> Found {
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

    fn binary(&mut self, operator: Binary, left: &Expr, right: &Expr, span: Span) -> Found {
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

    fn divisor(&mut self, divisor: &Expr, range: Range, operator: Binary) {
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

    fn branches(&mut self, condition: &Expr, yes: &Expr, no: &Expr) -> Found {
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

    fn call(&mut self, name: &str, span: Span, args: &[Arg], whole: Span) -> Found {
        // `map(list, item => …)` is not the verifier of that name.
        let each_item = args.iter().any(|arg| matches!(arg.form, Form::Each(_)));
        if let Some(verifier) = self.registry.get(name).filter(|_| !each_item) {
            return self.verify(&verifier.clone(), span, args);
        }
        if let Some((_, kind)) = RegexKind::ALL.iter().find(|(known, _)| *known == name) {
            return self.regex(*kind, name, args, whole);
        }
        if let Some((_, kind)) = GroupKind::ALL.iter().find(|(known, _)| *known == name) {
            return self.group(*kind, name, args, whole);
        }
        if let Some((_, kind)) = Each::ALL.iter().find(|(known, _)| *known == name) {
            return self.each(*kind, name, args, whole);
        }
        if let Some(function) = functions::find(name) {
            return self.function(function, args, whole);
        }
        let mut known: Vec<&str> = self.registry.iter().map(|(name, _)| name).collect();
        known.extend(functions::FUNCTIONS.iter().map(|function| function.name));
        known.extend(RegexKind::ALL.iter().map(|(name, _)| *name));
        known.extend(Each::ALL.iter().map(|(name, _)| *name));
        known.extend(GroupKind::ALL.iter().map(|(name, _)| *name));
        let fault = Fault::error(span, format!("no function or verifier is called `{name}`"), "unknown function");
        Err(match nearest(name, known.into_iter()) {
            Some(nearest) => fault.help(format!("did you mean `{nearest}`?")),
            None => fault.help("`vr1 score --list` lists them; a verifier of your own is registered first"),
        })
    }

    fn plain(&self, name: &str, args: &[Arg]) -> Result<(), Fault> {
        for arg in args {
            match &arg.form {
                Form::Plain => {}
                Form::Named(argument) => {
                    let message = format!("`{name}` takes its arguments by position");
                    return Err(Fault::error(argument.span, message, format!("leave out `{} =`", argument.text)));
                }
                Form::Each(item) => {
                    return Err(Fault::error(item.span, format!("`{name}` takes no `… => …`"), "not expected here"));
                }
            }
        }
        Ok(())
    }

    fn function(&mut self, function: &'static functions::Function, args: &[Arg], whole: Span) -> Found {
        self.plain(function.name, args)?;
        let most = function.params.len();
        if args.len() < most || (args.len() > most && !function.variadic) {
            return Err(arity(function.name, most, (!function.variadic).then_some(most), args.len(), whole));
        }
        let mut nodes = Vec::new();
        let mut ranges = Vec::new();
        let mut depends = Depends::default();
        let mut missing = function.partial;
        let mut args_missing = false;
        let mut first = None;
        for (index, arg) in args.iter().enumerate() {
            // A variadic function repeats its last shape.
            let shape = function.params[index.min(most - 1)];
            let (node, facts) = if shape == Shape::Number {
                self.number(&arg.value, &format!("`{}`", function.name))?
            } else {
                self.expr(&arg.value)?
            };
            if !shape.accepts(&facts.kind) {
                return Err(mismatch(arg.value.span, &format!("`{}`", function.name), shape.name(), &facts.kind));
            }
            args_missing |= facts.missing;
            missing |= facts.missing && shape != Shape::Whatever;
            missing |= facts.missing && matches!(function.name, "to_number" | "to_text" | "box" | "boxes");
            depends = depends.and(facts.depends);
            ranges.push(facts.range);
            nodes.push(node);
            first.get_or_insert(facts.kind);
        }
        let first_kind = first.clone();
        let kind = match function.gives {
            Gives::Number => Type::Number,
            Gives::Text => Type::Text,
            Gives::Boolean => Type::Bool,
            Gives::Rectangle => Type::Box,
            Gives::Boxes => Type::Boxes,
            Gives::Texts => Type::list(Type::Text),
            Gives::Numbers => Type::list(Type::Number),
            Gives::SameList => first.unwrap_or(Type::list(Type::Any)),
            Gives::Item => match first {
                Some(Type::List(of)) => *of,
                _ => Type::Any,
            },
        };
        let mut range = if ranges.is_empty() { Range::ANY } else { (function.range)(&ranges) };
        if kind == Type::Bool {
            range = Range::UNIT;
        }
        let mut missing = missing && kind != Type::Bool;
        // A number or boolean always has a number; only a text may have none.
        if let ("to_number", Some(Type::Bool | Type::Number)) = (function.name, &first_kind) {
            missing = args_missing;
            range = ranges[0];
        }
        Ok((Node::Call(function, nodes), Facts { kind, missing, range, depends }))
    }

    fn regex(&mut self, kind: RegexKind, name: &str, args: &[Arg], whole: Span) -> Found {
        self.plain(name, args)?;
        let count = if matches!(kind, RegexKind::Capture | RegexKind::Replace) { 3 } else { 2 };
        if args.len() != count {
            return Err(arity(name, count, Some(count), args.len(), whole));
        }
        let (text, facts) = self.expr(&args[0].value)?;
        if !facts.kind.fits(&Type::Text) {
            return Err(mismatch(args[0].value.span, &format!("`{name}`"), "text", &facts.kind));
        }
        let literal = |arg: &Arg, what: &str| match &arg.value.kind {
            Kind::Text(text) => Ok(text.clone()),
            _ => {
                let message = format!("the {what} of `{name}` is written in the program itself");
                Err(Fault::error(arg.value.span, message, "must be a quoted text")
                    .help("so that it is checked before the run"))
            }
        };
        let pattern = literal(&args[1], "pattern")?;
        let source = if kind == RegexKind::FullMatch { format!(r"\A(?:{pattern})\z") } else { pattern };
        let regex = regex::RegexBuilder::new(&source).size_limit(1 << 22).build().map_err(|error| {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ");
            let message = format!("this is not a regular expression: {reason}");
            let fault = Fault::error(args[1].value.span, message, "here");
            let around = reason.contains("look-around") || reason.contains("backreferences");
            if around {
                fault.help("patterns take linear time here, so there is no look-around and no backreference")
            } else {
                fault
            }
        })?;
        let extra = if count == 3 { literal(&args[2], "group")? } else { String::new() };
        if kind == RegexKind::Capture {
            self.group_of(&regex, &extra, args[2].value.span)?;
        }
        let (kind_of, missing) = match kind {
            RegexKind::Matches | RegexKind::FullMatch => (Type::Bool, false),
            RegexKind::Find | RegexKind::Capture => (Type::Text, true),
            RegexKind::FindAll => (Type::list(Type::Text), facts.missing),
            RegexKind::Replace => (Type::Text, facts.missing),
        };
        let facts = Facts { missing, depends: facts.depends, ..Facts::of(kind_of) };
        Ok((Node::Regex(Box::new(RegexCall { kind, text, regex, extra })), facts))
    }

    fn group_of(&self, regex: &Regex, name: &str, span: Span) -> Result<(), Fault> {
        let names: Vec<&str> = regex.capture_names().flatten().collect();
        if names.contains(&name) {
            return Ok(());
        }
        let fault = Fault::error(span, format!("the pattern has no group called `{name}`"), "no such group");
        Err(match nearest(name, names.iter().copied()) {
            Some(nearest) => fault.help(format!("did you mean `{nearest}`?")),
            None => fault.help(format!("name one in the pattern: `(?<{name}>…)`")),
        })
    }

    fn group(&mut self, kind: GroupKind, name: &str, args: &[Arg], whole: Span) -> Found {
        self.plain(name, args)?;
        let count = usize::from(kind != GroupKind::Size);
        if args.len() != count {
            return Err(arity(name, count, Some(count), args.len(), whole));
        }
        let (of, facts) = match args.first() {
            // Each rollout of the group has its own value, so names bound here cannot be seen in there.
            Some(arg) => {
                let scope = std::mem::take(&mut self.scope);
                let found = match kind {
                    GroupKind::Diversity | GroupKind::Share => self.expr(&arg.value),
                    _ => self.number(&arg.value, &format!("`{name}`")),
                };
                self.scope = scope;
                found?
            }
            None => (Node::Constant(Value::Number(0.0)), Facts::of(Type::Number)),
        };
        let range = match kind {
            GroupKind::Mean | GroupKind::Min | GroupKind::Max => facts.range,
            GroupKind::Rank | GroupKind::Diversity | GroupKind::Share => Range::UNIT,
            GroupKind::Size => Range { low: 1.0, high: f64::INFINITY },
            GroupKind::Std => Range { low: 0.0, high: (facts.range.high - facts.range.low).abs() },
        };
        let slot = self.groups.len();
        self.groups.push(GroupCall { kind, of });
        let depends = facts.depends.and(Depends::COMPLETION);
        Ok((Node::Group(slot), Facts { missing: facts.missing, range, depends, ..Facts::of(Type::Number) }))
    }

    fn each(&mut self, kind: Each, name: &str, args: &[Arg], whole: Span) -> Found {
        // `sum` alone may go without: the sum of the items themselves.
        let bare = kind == Each::Sum && args.len() == 1;
        if args.len() != 2 && !bare {
            return Err(arity(name, 2, Some(2), args.len(), whole).help(format!("write `{name}(list, item => …)`")));
        }
        let (list, list_facts) = self.expr(&args[0].value)?;
        let item = match &list_facts.kind {
            Type::List(of) => (**of).clone(),
            Type::Any => Type::Any,
            other => return Err(mismatch(args[0].value.span, &format!("`{name}`"), "list", other)),
        };
        let item_facts = Facts { missing: item == Type::Any, depends: list_facts.depends, ..Facts::of(item.clone()) };
        let (slot, body, body_facts) = if bare {
            if !item.fits(&Type::Number) {
                return Err(mismatch(args[0].value.span, "`sum`", "list of number", &list_facts.kind));
            }
            let slot = self.bind("item", item_facts.clone());
            self.scope.pop();
            (slot, Node::Local(slot), item_facts)
        } else {
            let Form::Each(variable) = &args[1].form else {
                let fault = Fault::error(
                    args[1].value.span,
                    format!("`{name}` needs to know what to do with each item"),
                    "no `item =>`",
                );
                return Err(fault.help(format!("write `{name}(list, item => …)`")));
            };
            let slot = self.bind(&variable.text, item_facts);
            let found = match kind {
                Each::Map => self.expr(&args[1].value),
                Each::Sum => self.number(&args[1].value, "`sum`"),
                _ => self.condition(&args[1].value, &format!("`{name}`")),
            };
            self.scope.pop();
            let (body, facts) = found?;
            (slot, body, facts)
        };
        let depends = list_facts.depends.and(body_facts.depends);
        let facts = match kind {
            Each::Map => Facts::of(Type::list(body_facts.kind)),
            Each::Filter => Facts::of(Type::list(item)),
            Each::Any | Each::All => Facts::of(Type::Bool),
            Each::Count => Facts { range: Range::COUNT, ..Facts::of(Type::Number) },
            Each::Sum => {
                let low = if body_facts.range.low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
                let high = if body_facts.range.high <= 0.0 { 0.0 } else { f64::INFINITY };
                Facts { range: Range { low, high }, ..Facts::of(Type::Number) }
            }
        };
        let missing = list_facts.missing && facts.kind != Type::Bool;
        Ok((Node::Each(kind, Box::new(list), slot, Box::new(body)), Facts { missing, depends, ..facts }))
    }

    fn verify(&mut self, verifier: &Verifier, span: Span, args: &[Arg]) -> Found {
        let signature = &verifier.signature;
        let name = &*verifier.name;
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

fn mismatch(span: Span, place: &str, expected: &str, found: &Type) -> Fault {
    Fault::error(span, format!("{place} needs a {expected}, and this is a {found}"), format!("a {found}"))
}

fn arity(name: &str, least: usize, most: Option<usize>, found: usize, span: Span) -> Fault {
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
