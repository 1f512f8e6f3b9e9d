use std::fmt;

use serde::Serialize;

use crate::diagnostic::render_all;
use crate::language::ast::{Expr, Fault, Span};
use crate::language::check::{Checked, KnownTerm, check};
use crate::language::eval::{Frame, eval};
use crate::language::group::aggregate;
use crate::language::node::{Depends, Facts, Range};
use crate::language::parser::{KEYWORDS, parse};
use crate::source::{Expression, ProgramSource};
use crate::{Diagnostic, Error, Limits, Registry, Result, Reward, Rollout, Severity, Type, Value};

/// A parsed and checked reward program; it is itself a [`Reward`].
///
/// # Example
/// ```
/// use vr1_reward::{Fields, Program, Registry, Reward, Rollout};
///
/// let program = Program::parse(
///     r"
/// terms:
///   accuracy: exact(answer, solution)
///   format: matches(completion, '(?s)^<think>.*?</think>\s*<answer>.*?</answer>$')
/// total: accuracy + format
/// tests:
///   - { completion: '<think>1+2</think><answer>3</answer>', solution: '3', expect: { total: 2 } }
/// ",
///     &Registry::default(),
/// )?;
/// let fields = Fields::new();
/// let completion = "It is <answer>3</answer>";
/// let rollout = Rollout { prompt: "1+2?", completion, solution: "3", tokens: 5, finished: true, fields: &fields };
/// assert_eq!(program.score(&rollout)?, 1.0);
/// let terms = program.terms(&rollout)?;
/// assert_eq!(terms, [("accuracy".to_owned(), Some(1.0)), ("format".to_owned(), Some(0.0))]);
/// # Ok::<(), vr1_reward::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) source: ProgramSource,
    pub(crate) terms: Vec<Term>,
    pub(crate) total: Checked,
    limits: Limits,
    warnings: Vec<Diagnostic>,
    name: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Term {
    pub(crate) name: String,
    pub(crate) checked: Checked,
}

/// The values of one rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The reward, unless it is missing.
    pub total: Option<f32>,
    /// Terms and metrics in order, each unless it is missing.
    pub terms: Vec<(String, Option<f32>)>,
}

impl Serialize for Outcome {
    /// `{"total":…,"terms":{…}}`, as `vr1 score --json` prints it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        struct Named<'a>(&'a [(String, Option<f32>)]);
        impl Serialize for Named<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
            }
        }
        let mut out = serializer.serialize_struct("Outcome", 2)?;
        out.serialize_field("total", &self.total)?;
        out.serialize_field("terms", &Named(&self.terms))?;
        out.end()
    }
}

/// The least and greatest value of a term, as the static check knows them.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// The term's name, or `total`.
    pub name: String,
    /// Never below this.
    pub low: f64,
    /// Never above this.
    pub high: f64,
    /// Whether it can be missing.
    pub missing: bool,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |x: f64| if x.is_finite() { x.to_string() } else { "∞".into() };
        let low = if self.low.is_finite() { self.low.to_string() } else { "-∞".into() };
        let missing = if self.missing { ", or missing" } else { "" };
        write!(f, "{}: {low} … {}{missing}", self.name, end(self.high))
    }
}

impl Program {
    /// Reads and checks a program written in YAML.
    ///
    /// # Errors
    /// [`Error::Yaml`] where it is not the YAML of a program, [`Error::Program`] with every fault of its expressions.
    pub fn parse(yaml: &str, registry: &Registry) -> Result<Self> {
        Self::parse_file("reward.yaml", yaml, registry)
    }

    /// The same, with the file's name for messages.
    ///
    /// # Errors
    /// As [`Program::parse`].
    pub fn parse_file(file: &str, yaml: &str, registry: &Registry) -> Result<Self> {
        let source = crate::layout::read(file, yaml)?;
        Compiler { registry, layout: crate::layout::Layout::of(yaml), file }.compile(source)
    }

    /// Checks a program that was read as part of something else, such as a recipe.
    ///
    /// # Errors
    /// [`Error::Program`] with every fault of its expressions.
    pub fn compile(source: ProgramSource, registry: &Registry) -> Result<Self> {
        Compiler { registry, layout: crate::layout::Layout::default(), file: "reward" }.compile(source)
    }

    /// The program with other limits on what one rollout may cost.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What the static check found that does not stop the program.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The program as it was written.
    #[must_use]
    pub fn source(&self) -> &ProgramSource {
        &self.source
    }

    /// The names of terms and metrics, in order.
    pub fn term_names(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|term| term.name.as_str())
    }

    /// The fields of the sample that the program reads.
    #[must_use]
    pub fn fields(&self) -> Vec<&str> {
        let all = self.terms.iter().map(|term| &term.checked).chain([&self.total]);
        let mut names: Vec<&str> = all.flat_map(|checked| checked.fields.iter().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The range of each term and of the total.
    #[must_use]
    pub fn bounds(&self) -> Vec<Bounds> {
        let bounds = |name: &str, facts: &Facts| Bounds {
            name: name.to_owned(),
            low: facts.range.low,
            high: facts.range.high,
            missing: facts.missing,
        };
        let terms = self.terms.iter().map(|term| bounds(&term.name, &term.checked.facts));
        terms.chain([bounds("total", &self.total.facts)]).collect()
    }

    /// Each term's value on one rollout, as a group of one; `None` where it is missing.
    ///
    /// # Errors
    /// Where a term fails: a verifier's error, fuel or deadline, a field of the wrong type.
    pub fn terms(&self, rollout: &Rollout<'_>) -> Result<Vec<(String, Option<f32>)>> {
        Ok(self.outcome(rollout)?.terms)
    }

    /// Total and terms of one rollout, as a group of one.
    ///
    /// # Errors
    /// As [`Program::terms`].
    pub fn outcome(&self, rollout: &Rollout<'_>) -> Result<Outcome> {
        let mut outcomes = self.outcomes(std::slice::from_ref(rollout));
        // A group of one gives one outcome.
        outcomes.pop().unwrap_or(Err(Error::Missing { name: "total".into() }))
    }

    /// Total and terms of each rollout of a group; one that fails leaves the others alone.
    #[must_use]
    pub fn outcomes(&self, group: &[Rollout<'_>]) -> Vec<Result<Outcome>> {
        let named = |(frame, total): (Frame<'_>, f64)| Outcome {
            total: number(total),
            terms: self.terms.iter().zip(&frame.terms).map(|(term, v)| (term.name.clone(), number(score(v)))).collect(),
        };
        self.run(group).into_iter().map(|result| result.map(named)).collect()
    }

    /// Frames and totals; a missing total is NaN.
    fn run<'r>(&self, group: &'r [Rollout<'r>]) -> Vec<Result<(Frame<'r>, f64)>> {
        let mut frames: Vec<Result<Frame<'r>>> =
            group.iter().map(|rollout| Ok(Frame::new(rollout, self.limits))).collect();
        for term in &self.terms {
            groups(&term.checked, &mut frames);
            for slot in &mut frames {
                let Ok(frame) = slot else { continue };
                match eval(&term.checked.node, frame).and_then(|value| reward(value, &term.name)) {
                    Ok(value) => frame.terms.push(value),
                    Err(error) => *slot = Err(error),
                }
            }
        }
        groups(&self.total, &mut frames);
        let total = |frame: Frame<'r>| {
            let value = eval(&self.total.node, &frame).and_then(|value| reward(value, "total"))?;
            let total = score(&value);
            Ok((frame, total))
        };
        frames.into_iter().map(|frame| frame.and_then(total)).collect()
    }
}

/// Evaluates the group calls of an expression on every rollout that has not failed.
fn groups<'r>(checked: &Checked, frames: &mut [Result<Frame<'r>>]) {
    for frame in frames.iter_mut().flatten() {
        frame.groups.clear();
    }
    for call in &checked.groups {
        let mut values = Vec::with_capacity(frames.len());
        for slot in frames.iter_mut() {
            let value = match slot {
                Ok(frame) => eval(&call.of, frame),
                Err(_) => Ok(Value::Missing),
            };
            values.push(value.unwrap_or_else(|error| {
                *slot = Err(error);
                Value::Missing
            }));
        }
        for (slot, value) in frames.iter_mut().zip(aggregate(call.kind, &values)) {
            if let Ok(frame) = slot {
                frame.groups.push(value);
            }
        }
    }
}

/// A term's value as a number: true is 1 and false 0.
fn reward<'r>(value: Value<'r>, name: &str) -> Result<Value<'r>> {
    match value {
        Value::Bool(value) => Ok(Value::Number(f64::from(value))),
        Value::Number(number) if !(number as f32).is_finite() => {
            Err(Error::NotFinite { name: name.into(), value: number })
        }
        value @ (Value::Number(_) | Value::Missing) => Ok(value),
        other => Err(Error::Type { place: name.into(), expected: "a number".into(), found: other.describe() }),
    }
}

fn score(value: &Value<'_>) -> f64 {
    value.as_number().unwrap_or(f64::NAN)
}

fn number(value: f64) -> Option<f32> {
    (!value.is_nan()).then_some(value as f32)
}

impl Reward for Program {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&self, rollout: &Rollout<'_>) -> Result<f32> {
        let scores = self.score_group(std::slice::from_ref(rollout))?;
        scores.first().copied().ok_or(Error::Missing { name: "total".into() })
    }

    fn score_group(&self, group: &[Rollout<'_>]) -> Result<Vec<f32>> {
        let total = |result: Result<(Frame<'_>, f64)>| {
            let (_, total) = result?;
            number(total).ok_or(Error::Missing { name: "total".into() })
        };
        self.run(group).into_iter().map(total).collect()
    }
}

struct Compiler<'c> {
    registry: &'c Registry,
    layout: crate::layout::Layout,
    file: &'c str,
}

impl Compiler<'_> {
    fn compile(&self, source: ProgramSource) -> Result<Program> {
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
                Ok(Program { source, terms, total, limits: Limits::default(), warnings: found, name })
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
