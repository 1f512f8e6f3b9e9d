//! Checks of calls: functions, patterns, list functions, and values of a group.

use regex::Regex;

use super::ast::{Arg, Binary, Expr, Fault, Form, Kind, Span};
use super::check::{Checker, Found, arity, mismatch, nearest};
use super::functions::{self, Gives, Shape};
use super::library::FUNCTIONS;
use super::node::{Depends, Each, Facts, GroupCall, GroupKind, Node, Range, RegexCall, RegexKind, Variable};
use crate::{Type, Value};

impl Checker<'_> {
    pub(super) fn call(&mut self, name: &str, span: Span, args: &[Arg], whole: Span) -> Found {
        // `map(list, item => …)` is not the verifier of that name.
        let each_item = args.iter().any(|arg| matches!(arg.form, Form::Each(_)));
        // Nor is the length of a text the reward for length, which takes a number.
        let of_text = name == "length" && args.first().is_some_and(|arg| !self.is_number(&arg.value));
        if let Some(verifier) = self.registry.get(name).filter(|_| !each_item && !of_text) {
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
        known.extend(FUNCTIONS.iter().map(|function| function.name));
        known.extend(RegexKind::ALL.iter().map(|(name, _)| *name));
        known.extend(Each::ALL.iter().map(|(name, _)| *name));
        known.extend(GroupKind::ALL.iter().map(|(name, _)| *name));
        let fault = Fault::error(span, format!("no function or verifier is called `{name}`"), "unknown function");
        Err(match nearest(name, known.into_iter()) {
            Some(nearest) => fault.help(format!("did you mean `{nearest}`?")),
            None => fault.help("`vr1 score --list` lists them; a verifier of your own is registered first"),
        })
    }

    /// Whether the expression is a number or a boolean by its outermost part alone.
    fn is_number(&self, expr: &Expr) -> bool {
        match &expr.kind {
            Kind::Number(_) | Kind::Bool(_) | Kind::Unary(..) => true,
            Kind::Binary(Binary::Coalesce, of, _) | Kind::If(_, of, _) | Kind::Let(_, _, of) => self.is_number(of),
            Kind::Binary(..) => true,
            Kind::Name(name) => {
                let scalar = |facts: &Facts| matches!(facts.kind, Type::Number | Type::Bool);
                let local = self.scope.iter().rev().find(|local| local.name == *name).map(|local| scalar(&local.facts));
                let term = || self.terms.iter().find(|term| term.name == *name).map(|term| scalar(&term.facts));
                let variable =
                    || Variable::ALL.iter().find(|(known, _)| known == name).map(|(_, v)| scalar(&v.facts()));
                local.or_else(term).or_else(variable).unwrap_or(false)
            }
            Kind::Call(name, _) => match functions::find(&name.text) {
                Some(function) => matches!(function.gives, Gives::Number | Gives::Boolean),
                None => {
                    let name = name.text.as_str();
                    let of_list = Each::ALL.iter().find(|(known, _)| *known == name);
                    let of_text = RegexKind::ALL.iter().find(|(known, _)| *known == name);
                    match (of_list, of_text) {
                        (Some((_, kind)), _) => !matches!(kind, Each::Map | Each::Filter),
                        (_, Some((_, kind))) => matches!(kind, RegexKind::Matches | RegexKind::FullMatch),
                        _ => true,
                    }
                }
            },
            _ => false,
        }
    }

    pub(super) fn plain(&self, name: &str, args: &[Arg]) -> Result<(), Fault> {
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

    pub(super) fn function(&mut self, function: &'static functions::Function, args: &[Arg], whole: Span) -> Found {
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

    pub(super) fn regex(&mut self, kind: RegexKind, name: &str, args: &[Arg], whole: Span) -> Found {
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

    pub(super) fn group_of(&self, regex: &Regex, name: &str, span: Span) -> Result<(), Fault> {
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

    pub(super) fn group(&mut self, kind: GroupKind, name: &str, args: &[Arg], whole: Span) -> Found {
        self.plain(name, args)?;
        let count = usize::from(kind != GroupKind::Size);
        if args.len() != count {
            return Err(arity(name, count, Some(count), args.len(), whole));
        }
        let (of, facts) = match args.first() {
            // Each rollout of the group has its own value, so names bound here cannot be seen in there.
            Some(arg) => {
                let scope = std::mem::take(&mut self.scope);
                // It is evaluated on every rollout, also where the branch around it is not taken.
                let nonzero = std::mem::take(&mut self.nonzero);
                let found = match kind {
                    GroupKind::Diversity | GroupKind::Share => self.expr(&arg.value),
                    _ => self.number(&arg.value, &format!("`{name}`")),
                };
                (self.scope, self.nonzero) = (scope, nonzero);
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

    pub(super) fn each(&mut self, kind: Each, name: &str, args: &[Arg], whole: Span) -> Found {
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
            let known = self.nonzero.clone();
            let slot = self.bind("item", item_facts.clone());
            self.scope.pop();
            self.nonzero = known;
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
            let known = self.nonzero.clone();
            let slot = self.bind(&variable.text, item_facts);
            let found = match kind {
                Each::Map => self.expr(&args[1].value),
                Each::Sum => self.number(&args[1].value, "`sum`"),
                _ => self.condition(&args[1].value, &format!("`{name}`")),
            };
            self.scope.pop();
            self.nonzero = known;
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
}
