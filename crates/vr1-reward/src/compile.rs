use crate::diagnostic::render_all;
use crate::language::ast::{Expr, Fault, Span};
use crate::language::check::{Checked, KnownTerm, check};
use crate::language::node::{Depends, Facts, Range};
use crate::language::parser::{KEYWORDS, parse};
use crate::program::{Term, Waiting};
use crate::source::{Expression, ProgramSource};
use crate::{Diagnostic, Error, Limits, Program, Registry, Result, Severity, Type};

pub(super) struct Compiler<'c> {
    pub(super) registry: &'c Registry,
    pub(super) layout: crate::layout::Layout,
    pub(super) file: &'c str,
}

impl Compiler<'_> {
    pub(super) fn compile(&self, source: ProgramSource) -> Result<Program> {
        let mut found = Vec::new();
        let mut known: Vec<KnownTerm> = Vec::new();
        let mut terms = Vec::new();
        let all: Vec<(&String, &Expression, &str)> = source
            .terms
            .0
            .iter()
            .map(|(name, text)| (name, text, "terms"))
            .chain(source.metrics.0.iter().map(|(name, text)| (name, text, "metrics")))
            .collect();
        for (index, (name, text, section)) in all.iter().enumerate() {
            let later: Vec<String> = all[index..].iter().map(|(name, ..)| (*name).clone()).collect();
            let path = [*section, name.as_str()];
            if let Some(fault) = self.bad_name(name, &known) {
                found.push(self.layout.diagnostic(&path, &text.0, fault));
            }
            let checked = self.expression(&path, &text.0, &known, &later, &mut found);
            let facts = checked.as_ref().map_or_else(unknown, |checked| Facts {
                // Inside other expressions a term is a number, whatever it was made from.
                kind: Type::Number,
                ..checked.facts.clone()
            });
            known.push(KnownTerm { name: (*name).clone(), facts });
            terms.extend(checked.map(|checked| Term { name: (*name).clone(), checked }));
        }
        let terms_of_total = &known[..source.terms.0.len()];
        let total = self.expression(&["total"], &source.total.0, terms_of_total, &[], &mut found);
        if let Some(total) = &total
            && terms.len() == known.len()
        {
            self.whole(&source, &terms, total, &mut found);
        }
        self.tests(&source, &mut found);
        found.sort_by_key(|diagnostic| std::cmp::Reverse(diagnostic.severity));
        let failed = found.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        match total {
            Some(total) if !failed => {
                let name = source.name.clone().unwrap_or_else(|| "reward".into());
                Ok(Program {
                    source,
                    terms,
                    total,
                    limits: Limits::default(),
                    waiting: Waiting::default(),
                    warnings: found,
                    name,
                    file: self.file.to_owned(),
                })
            }
            _ => {
                let report = render_all(&found, self.file);
                Err(Error::Program { diagnostics: found, report })
            }
        }
    }

    fn bad_name(&self, name: &str, known: &[KnownTerm]) -> Option<Fault> {
        let span = Span::default();
        let mut chars = name.chars();
        let plain = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && chars.all(|c| c.is_alphanumeric() || c == '_');
        if !plain {
            let message = format!("`{name}` cannot be a term's name");
            return Some(Fault::error(span, message, "its name").help("letters, digits and `_`, not a digit first"));
        }
        let variables = crate::language::node::Variable::ALL;
        let taken = KEYWORDS.contains(&name)
            || variables.iter().any(|(known, _)| *known == name)
            || matches!(name, "total" | "error");
        if taken {
            return Some(Fault::error(span, format!("`{name}` already means something"), "choose another name"));
        }
        let twice = known.iter().any(|term| term.name == name);
        twice.then(|| Fault::error(span, format!("`{name}` is there twice"), "the second time"))
    }

    fn expression(
        &self,
        path: &[&str],
        text: &str,
        known: &[KnownTerm],
        later: &[String],
        found: &mut Vec<Diagnostic>,
    ) -> Option<Checked> {
        let whole = Span { start: 0, end: text.len() };
        let result: std::result::Result<(Expr, _), Vec<Fault>> =
            parse(text).map_err(|fault| vec![fault]).and_then(|expr| {
                let checked = check(&expr, self.registry, known, later)?;
                Ok((expr, checked))
            });
        match result {
            Ok((_, (checked, warnings))) => {
                found.extend(warnings.into_iter().map(|fault| self.layout.diagnostic(path, text, fault)));
                if matches!(checked.facts.kind, Type::Number | Type::Bool | Type::Any) {
                    return Some(checked);
                }
                let message = format!("`{}` must be a number, and is a {}", path[path.len() - 1], checked.facts.kind);
                let label = format!("a {}", checked.facts.kind);
                found.push(self.layout.diagnostic(path, text, Fault::error(whole, message, label)));
                None
            }
            Err(faults) => {
                found.extend(faults.into_iter().map(|fault| self.layout.diagnostic(path, text, fault)));
                None
            }
        }
    }

    /// What can be said only of the whole program.
    fn whole(&self, source: &ProgramSource, terms: &[Term], total: &Checked, found: &mut Vec<Diagnostic>) {
        let text = &source.total.0;
        let span = Span { start: 0, end: text.len() };
        let mut add = |path: &[&str], text: &str, fault| found.push(self.layout.diagnostic(path, text, fault));
        let facts = &total.facts;
        if facts.range.low == facts.range.high && !facts.missing {
            let message = "the total is always the same, so nothing can be learned from it";
            add(&["total"], text, Fault::error(span, message, format!("always {}", facts.range.low)));
        } else if !facts.depends.has(Depends::COMPLETION) {
            let message = "the total does not look at the completion, so every completion of a prompt gets the same";
            add(&["total"], text, Fault::error(span, message, "the same for a whole group"));
        } else if !facts.depends.has(Depends::REFERENCE) {
            let message = "the total looks neither at the solution nor at the sample's fields";
            add(&["total"], text, Fault::warning(span, message, "the same for any right answer"));
        }
        if facts.missing {
            let fault =
                Fault::warning(span, "the total can be missing, and then the rollout has no reward", "can be missing");
            add(&["total"], text, fault.help("`(… ?? 0)` puts a value in its place"));
        }
        let mut used = vec![false; terms.len()];
        let mut open = total.uses.clone();
        while let Some(index) = open.pop() {
            if !std::mem::replace(&mut used[index], true) {
                open.extend(&terms[index].checked.uses);
            }
        }
        for ((name, text), used) in source.terms.0.iter().zip(used) {
            if !used {
                let span = Span { start: 0, end: text.0.len() };
                let fault = Fault::warning(span, format!("the total does not use the term `{name}`"), "only logged");
                add(&["terms", name], &text.0, fault.help("put it under `metrics:` if that is meant"));
            }
        }
    }

    fn tests(&self, source: &ProgramSource, found: &mut Vec<Diagnostic>) {
        let names: Vec<&str> = source.terms.names().chain(source.metrics.names()).chain(["total"]).collect();
        for (index, test) in source.tests.iter().enumerate() {
            for name in [test].into_iter().chain(&test.group).flat_map(|test| test.expect.keys()) {
                if names.contains(&name.as_str()) {
                    continue;
                }
                let fault = Fault::error(Span::default(), format!("no term is called `{name}`"), "expected here");
                let nearest = crate::language::check::nearest(name, names.iter().copied());
                let fault = match nearest {
                    Some(nearest) => fault.help(format!("did you mean `{nearest}`?")),
                    None => fault,
                };
                let path = ["tests", &index.to_string()];
                found.push(self.layout.diagnostic(&path, &format!("expect: {{ {name}: … }}"), fault));
            }
        }
    }
}

fn unknown() -> Facts {
    Facts { missing: false, range: Range::ANY, depends: Depends::ALL, ..Facts::of(Type::Number) }
}
