use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::compile::Compiler;
use crate::language::absence::absent;
use crate::language::check::Checked;
use crate::language::eval::{Frame, eval};
use crate::language::group::aggregate;
use crate::language::node::Facts;
use crate::source::ProgramSource;
use crate::{Bounds, Diagnostic, Error, Limits, Outcome, Registry, Result, Reward, Rollout, Value};

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
    pub(crate) limits: Limits,
    /// Where verifiers that wait for someone else are called side by side.
    pub(crate) waiting: Waiting,
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) name: String,
    /// What the file is called in messages.
    pub(crate) file: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Term {
    pub(crate) name: String,
    pub(crate) checked: Checked,
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

    /// The program of which so many completions are judged at a time by verifiers that wait for someone else, such as a judge behind a server;
    /// 8 where nothing is said. Others use the threads there are.
    #[must_use]
    pub fn with_waiting_at_once(mut self, count: usize) -> Self {
        self.waiting = Waiting::new(count);
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
            missing: if total.is_nan() { self.absent(&frame) } else { Vec::new() },
        };
        self.run(group).into_iter().map(|result| result.map(named)).collect()
    }

    /// What a missing total lacks.
    fn absent(&self, frame: &Frame<'_>) -> Vec<String> {
        let terms: Vec<(&str, &Checked)> = self.terms.iter().map(|term| (term.name.as_str(), &term.checked)).collect();
        absent(&self.total, &terms, frame)
    }

    /// Frames and totals; a missing total is NaN.
    fn run<'r>(&self, group: &'r [Rollout<'r>]) -> Vec<Result<(Frame<'r>, f64)>> {
        let mut frames: Vec<Result<Frame<'r>>> =
            group.iter().map(|rollout| Ok(Frame::new(rollout, self.limits))).collect();
        for term in &self.terms {
            groups(&term.checked, &mut frames);
            self.waiting.each(term.checked.waits, &mut frames, |slot| {
                let Ok(frame) = slot else { return };
                match eval(&term.checked.node, frame).and_then(|value| reward(value, &term.name)) {
                    Ok(value) => frame.terms.push(value),
                    Err(error) => *slot = Err(error.of_term(&term.name)),
                }
            });
        }
        groups(&self.total, &mut frames);
        let mut totals: Vec<_> = frames.into_iter().map(|frame| (frame, f64::NAN)).collect();
        self.waiting.each(self.total.waits, &mut totals, |(slot, total)| {
            let Ok(frame) = slot else { return };
            match eval(&self.total.node, frame).and_then(|value| Ok(score(&reward(value, "total")?))) {
                Ok(value) => *total = value,
                Err(error) => *slot = Err(error.of_term("total")),
            }
        });
        totals.into_iter().map(|(frame, total)| Ok((frame?, total))).collect()
    }
}

/// Threads that wait: as many as may ask at once.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    count: usize,
    pool: Arc<OnceLock<Option<ThreadPool>>>,
}

impl Waiting {
    fn new(count: usize) -> Self {
        Self { count: count.max(1), pool: Arc::default() }
    }

    /// Has `work` look at each of `all`, side by side where it waits.
    fn each<T: Send>(&self, waits: bool, all: &mut [T], work: impl Fn(&mut T) + Send + Sync) {
        // Without threads of its own it goes on one by one.
        let pool =
            || ThreadPoolBuilder::new().num_threads(self.count).thread_name(|_| "waiting".to_owned()).build().ok();
        match waits.then(|| self.pool.get_or_init(pool).as_ref()).flatten() {
            Some(pool) => pool.install(|| all.par_iter_mut().for_each(work)),
            None => all.iter_mut().for_each(work),
        }
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self::new(8)
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
            let (frame, total) = result?;
            number(total).ok_or_else(|| Error::NoTotal { missing: self.absent(&frame) })
        };
        self.run(group).into_iter().map(total).collect()
    }
}
