use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{Budget, Error, Result, Reward, Rollout, Type, Value};

/// What a verifier makes of a missing argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The score is 0: an answer that was not given is wrong.
    Zero,
    /// The score is missing too: nothing to compare with.
    Missing,
    /// The verifier is called and sees it.
    Passed,
}

/// One argument of a verifier.
#[derive(Debug, Clone)]
pub struct Param {
    /// Its name; it may be given by position or by name.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// What it is when not given; `None` makes it required.
    pub default: Option<Value<'static>>,
    /// For a text given in the program itself: the texts it may be. Empty means any.
    pub choices: &'static [&'static str],
    /// What happens when its value is missing.
    pub absent: Absent,
}

impl Param {
    /// A required argument whose absence in a rollout makes the score 0: the model's answer.
    #[must_use]
    pub const fn answer(name: &'static str, kind: Type) -> Self {
        Self { name, kind, default: None, choices: &[], absent: Absent::Zero }
    }

    /// A required argument whose absence in a rollout makes the score missing: what the answer is compared with.
    #[must_use]
    pub const fn required(name: &'static str, kind: Type) -> Self {
        Self { name, kind, default: None, choices: &[], absent: Absent::Missing }
    }

    /// A number with a default.
    #[must_use]
    pub const fn number(name: &'static str, default: f64) -> Self {
        let default = Some(Value::Number(default));
        Self { name, kind: Type::Number, default, choices: &[], absent: Absent::Missing }
    }

    /// A text out of a fixed list; the first is the default.
    #[must_use]
    pub const fn choice(name: &'static str, choices: &'static [&'static str]) -> Self {
        let default = Some(Value::Text(std::borrow::Cow::Borrowed(choices[0])));
        Self { name, kind: Type::Text, default, choices, absent: Absent::Missing }
    }
}

/// What a verifier takes and gives.
#[derive(Debug, Clone)]
pub struct Signature {
    /// The arguments in order.
    pub params: Vec<Param>,
    /// Whether more arguments of any type may follow.
    pub variadic: bool,
    /// The least score.
    pub low: f64,
    /// The greatest score.
    pub high: f64,
    /// One sentence for `--list` and the docs.
    pub doc: &'static str,
    /// Whether it waits for someone else, such as a server: several are then called side by side.
    pub waits: bool,
}

impl Signature {
    /// The same of one that waits for someone else.
    #[must_use]
    pub fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }

    /// A verifier of these arguments that scores from 0 to 1.
    #[must_use]
    pub const fn new(doc: &'static str, params: Vec<Param>) -> Self {
        Self { params, variadic: false, low: 0.0, high: 1.0, doc, waits: false }
    }
}

/// The arguments a verifier is called with, and the rollout it judges.
#[derive(Debug)]
pub struct Args<'a> {
    pub(crate) name: &'a str,
    pub(crate) names: &'a [Param],
    pub(crate) values: &'a [Value<'a>],
    pub(crate) rollout: &'a Rollout<'a>,
    pub(crate) budget: &'a Budget,
}

impl<'a> Args<'a> {
    /// The verifier's own name, for its errors.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The rollout under judgement.
    #[must_use]
    pub fn rollout(&self) -> &'a Rollout<'a> {
        self.rollout
    }

    /// The work this rollout may still cost; a verifier with long loops spends from it.
    #[must_use]
    pub fn budget(&self) -> &'a Budget {
        self.budget
    }

    /// How many arguments there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The argument at `index`; missing past the end.
    #[must_use]
    pub fn value(&self, index: usize) -> &'a Value<'a> {
        self.values.get(index).unwrap_or(&Value::Missing)
    }

    /// The text at `index`.
    ///
    /// # Errors
    /// Where it is no text.
    pub fn text(&self, index: usize) -> Result<&'a str> {
        self.value(index).as_text().ok_or_else(|| self.wrong(index, "text"))
    }

    /// The number at `index`.
    ///
    /// # Errors
    /// Where it is no number.
    pub fn number(&self, index: usize) -> Result<f64> {
        self.value(index).as_number().ok_or_else(|| self.wrong(index, "number"))
    }

    fn wrong(&self, index: usize, expected: &str) -> Error {
        let name = self.names.get(index).map_or_else(|| format!("argument {}", index + 1), |param| param.name.into());
        Error::Type {
            place: format!("{}({name})", self.name),
            expected: expected.into(),
            found: self.value(index).describe(),
        }
    }
}

type Function = dyn Fn(&Args<'_>) -> Result<f32> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Verifier {
    pub(crate) name: Arc<str>,
    pub(crate) signature: Arc<Signature>,
    pub(crate) function: Arc<Function>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Verifiers by name: what a reward program can call.
///
/// # Example
/// ```
/// use vr1_reward::{Fields, Program, Registry, Reward, Rollout};
///
/// let mut registry = Registry::default();
/// registry.register("shorter_than", |args| {
///     Ok(if args.text(0)?.len() < args.number(1)? as usize { 1.0 } else { 0.0 })
/// });
/// let program = Program::parse("terms: { brief: 'shorter_than(completion, 10)' }\ntotal: brief", &registry)?;
/// let fields = Fields::new();
/// let rollout = Rollout { prompt: "", completion: "four", solution: "", tokens: 1, finished: true, fields: &fields };
/// assert_eq!(program.score(&rollout)?, 1.0);
/// # Ok::<(), vr1_reward::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Registry {
    verifiers: BTreeMap<String, Verifier>,
}

impl Default for Registry {
    /// Every verifier of this crate.
    fn default() -> Self {
        let mut registry = Self::empty();
        crate::verify::register_all(&mut registry);
        registry
    }
}

impl Registry {
    /// Every verifier of this crate; the same as `Registry::default()`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No verifier at all.
    #[must_use]
    pub fn empty() -> Self {
        Self { verifiers: BTreeMap::new() }
    }

    /// Makes `function` callable as `name(…)` with any arguments. A later registration of a name replaces the earlier.
    pub fn register<F>(&mut self, name: &str, function: F)
    where
        F: Fn(&Args<'_>) -> Result<f32> + Send + Sync + 'static,
    {
        let doc = "A verifier of the user's own.";
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        let signature = Signature { params: Vec::new(), variadic: true, low, high, doc, waits: false };
        self.register_typed(name, signature, function);
    }

    /// Makes `function` callable as `name(…)` with arguments that are checked before the program runs.
    ///
    /// # Example
    /// ```
    /// use vr1_reward::{Param, Program, Registry, Signature, Type};
    ///
    /// let mut registry = Registry::default();
    /// let signature = Signature::new(
    ///     "1 where the text is at most `limit` bytes long.",
    ///     vec![Param::answer("text", Type::Text), Param::number("limit", 10.0)],
    /// );
    /// registry.register_typed("brief", signature, |args| {
    ///     Ok(if args.text(0)?.len() as f64 <= args.number(1)? { 1.0 } else { 0.0 })
    /// });
    /// let wrong = Program::parse("terms: { a: 'brief(answer, lmit=3)' }\ntotal: a", &registry).unwrap_err();
    /// assert!(wrong.to_string().contains("`limit`"));
    /// ```
    pub fn register_typed<F>(&mut self, name: &str, signature: Signature, function: F)
    where
        F: Fn(&Args<'_>) -> Result<f32> + Send + Sync + 'static,
    {
        let verifier = Verifier { name: name.into(), signature: Arc::new(signature), function: Arc::new(function) };
        self.verifiers.insert(name.to_owned(), verifier);
    }

    /// Makes a [`Reward`] callable as `name()`, under its own name.
    pub fn register_reward(&mut self, reward: impl Reward + 'static) {
        let name = reward.name().to_owned();
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        let doc = "A reward of the user's own.";
        let signature = Signature { params: Vec::new(), variadic: false, low, high, doc, waits: false };
        self.register_typed(&name, signature, move |args| reward.score(args.rollout()));
    }

    /// The names in order, each with what it takes and gives.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Signature)> {
        self.verifiers.iter().map(|(name, verifier)| (name.as_str(), &*verifier.signature))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Verifier> {
        self.verifiers.get(name)
    }
}
