//! The checked tree to a value.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::ast::Binary;
use super::functions::Gives;
use super::library::finite;
use super::node::{Each, Node, RegexCall, RegexKind, Variable};
use crate::registry::Absent;
use crate::{Args, Budget, Error, Limits, Result, Rollout, Value, first_tagged, last_tagged};

/// What the expressions of one rollout share.
#[derive(Debug)]
pub(crate) struct Frame<'r> {
    pub(crate) rollout: &'r Rollout<'r>,
    pub(crate) budget: Budget,
    pub(crate) terms: Vec<Value<'r>>,
    /// Values of the term's group calls, on this rollout.
    pub(crate) groups: Vec<Value<'static>>,
    pub(crate) locals: RefCell<Vec<Value<'r>>>,
    answer: OnceCell<Option<&'r str>>,
}

impl<'r> Frame<'r> {
    pub(crate) fn new(rollout: &'r Rollout<'r>, limits: Limits) -> Self {
        Self {
            rollout,
            budget: Budget::new(limits),
            terms: Vec::new(),
            groups: Vec::new(),
            locals: RefCell::default(),
            answer: OnceCell::new(),
        }
    }

    fn variable(&self, variable: Variable) -> Result<Value<'r>> {
        let rollout = self.rollout;
        let text = |text: &'r str| Value::Text(Cow::Borrowed(text));
        let tagged = |of: fn(&'r str, &str) -> Option<&'r str>, tag: &str| {
            self.budget.spend_bytes(rollout.completion.len(), "the tags of the completion")?;
            Ok(of(rollout.completion, tag).map_or(Value::Missing, text))
        };
        Ok(match variable {
            Variable::Prompt => text(rollout.prompt),
            Variable::Completion => text(rollout.completion),
            Variable::Solution => text(rollout.solution),
            Variable::Tokens => Value::Number(rollout.tokens as f64),
            Variable::Finished => Value::Bool(rollout.finished),
            Variable::Answer => {
                if self.answer.get().is_none() {
                    self.budget.spend_bytes(rollout.completion.len(), "answer")?;
                }
                self.answer.get_or_init(|| last_tagged(rollout.completion, "answer")).map_or(Value::Missing, text)
            }
            Variable::FirstAnswer => tagged(first_tagged, "answer")?,
            Variable::Think => tagged(last_tagged, "think")?,
        })
    }
}

pub(crate) fn eval<'r>(node: &Node, frame: &Frame<'r>) -> Result<Value<'r>> {
    frame.budget.spend(1, "the program")?;
    match node {
        Node::Constant(value) => Ok(value.clone()),
        Node::Variable(variable) => frame.variable(*variable),
        Node::Term(index) => Ok(frame.terms[*index].clone()),
        Node::Local(slot) => {
            let value = &frame.locals.borrow()[*slot];
            frame.budget.spend(value.copying(), "the program")?;
            Ok(value.clone())
        }
        Node::Group(slot) => Ok(frame.groups[*slot].clone()),
        Node::Field(path) => {
            let mut value = frame.rollout.fields.get(&path[0]);
            for name in &path[1..] {
                value = value.and_then(|value| value.get(name));
            }
            let Some(json) = value else { return Ok(Value::Missing) };
            let value = Value::from_json(json);
            if let Value::List(items) = &value {
                frame.budget.spend(items.len() as u64, "fields")?;
            }
            Ok(value)
        }
        Node::Member(of, name) => Ok(match eval(of, frame)? {
            Value::Record(fields) => fields.get(name).map_or(Value::Missing, Value::from_json),
            _ => Value::Missing,
        }),
        Node::Index(list, index) => {
            let (list, index) = (eval(list, frame)?, eval(index, frame)?);
            let (Value::List(mut items), Value::Number(index)) = (list, index) else { return Ok(Value::Missing) };
            // Negative counts from the end.
            let place = if index < 0.0 { items.len() as f64 + index } else { index };
            let inside = place >= 0.0 && place.fract() == 0.0 && place < items.len() as f64;
            Ok(if inside { items.swap_remove(place as usize) } else { Value::Missing })
        }
        Node::List(items) => Ok(Value::List(items.iter().map(|item| eval(item, frame)).collect::<Result<_>>()?)),
        Node::Negate(of) => Ok(number(eval(of, frame)?, "-")?.map_or(Value::Missing, |x| Value::Number(-x))),
        Node::Not(of) => Ok(Value::Bool(!truth(eval(of, frame)?, "not")?)),
        Node::Binary(operator, left, right) => binary(*operator, left, right, frame),
        Node::If(condition, yes, no) => eval(if truth(eval(condition, frame)?, "if")? { yes } else { no }, frame),
        Node::Let(slot, value, body) => {
            let value = eval(value, frame)?;
            bind(frame, *slot, value);
            eval(body, frame)
        }
        Node::Call(function, args) => {
            let mut values = args.iter().map(|arg| eval(arg, frame)).collect::<Result<Vec<_>>>()?;
            for (index, value) in values.iter().enumerate() {
                let shape = function.params[index.min(function.params.len() - 1)];
                if value.is_missing() && shape != super::functions::Shape::Whatever {
                    return Ok(if function.gives == Gives::Boolean { Value::Bool(false) } else { Value::Missing });
                }
                if !shape.admits(value) {
                    return Err(wrong(function.name, shape.name(), value));
                }
            }
            (function.run)(&mut values, &frame.budget)
        }
        Node::Regex(call) => regex(call, frame),
        Node::Each(kind, list, slot, body) => each(*kind, list, *slot, body, frame),
        Node::Verify(verifier, args) => {
            let values = args.iter().map(|arg| eval(arg, frame)).collect::<Result<Vec<_>>>()?;
            let params = &verifier.signature.params;
            // Without something to compare with there is no score, whatever the answer is.
            let absent =
                params.iter().zip(&values).filter(|(_, value)| value.is_missing()).map(|(param, _)| param.absent);
            if absent.clone().any(|absent| absent == Absent::Missing) {
                return Ok(Value::Missing);
            }
            if absent.clone().any(|absent| absent == Absent::Zero) {
                return Ok(Value::Number(0.0));
            }
            for (param, value) in params.iter().zip(&values) {
                if !value.is_missing() && !param.kind.admits(value) {
                    let place = format!("{}({})", verifier.name, param.name);
                    return Err(wrong(&place, &param.kind.to_string(), value));
                }
            }
            let args = Args {
                name: &verifier.name,
                names: params,
                values: &values,
                rollout: frame.rollout,
                budget: &frame.budget,
            };
            // A verifier may be a user's own, and one that panics must not take a run with it.
            let score = catch_unwind(AssertUnwindSafe(|| (verifier.function)(&args)));
            let score = score.unwrap_or_else(|panic| Err(Error::verifier(&*verifier.name, panicked(panic.as_ref()))));
            let score = f64::from(score?);
            if score.is_finite() {
                return Ok(Value::Number(score));
            }
            Err(Error::verifier(&*verifier.name, format!("it gave {score}, which is no reward")))
        }
    }
}

/// What a panic said.
fn panicked(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", said.unwrap_or("without a word"))
}

fn bind<'r>(frame: &Frame<'r>, slot: usize, value: Value<'r>) {
    let mut locals = frame.locals.borrow_mut();
    if locals.len() <= slot {
        locals.resize(slot + 1, Value::Missing);
    }
    locals[slot] = value;
}

fn wrong(place: &str, expected: &str, found: &Value<'_>) -> Error {
    Error::Type { place: place.into(), expected: expected.into(), found: found.describe() }
}

fn number(value: Value<'_>, place: &str) -> Result<Option<f64>> {
    match value {
        Value::Number(number) => Ok(Some(number)),
        Value::Missing => Ok(None),
        other => Err(wrong(place, "a number", &other)),
    }
}

/// A condition over a missing value is false.
fn truth(value: Value<'_>, place: &str) -> Result<bool> {
    match value {
        Value::Bool(value) => Ok(value),
        Value::Missing => Ok(false),
        other => Err(wrong(place, "a boolean", &other)),
    }
}

fn binary<'r>(operator: Binary, left: &Node, right: &Node, frame: &Frame<'r>) -> Result<Value<'r>> {
    let place = operator.symbol();
    match operator {
        Binary::Or => {
            return Ok(Value::Bool(truth(eval(left, frame)?, place)? || truth(eval(right, frame)?, place)?));
        }
        Binary::And => {
            return Ok(Value::Bool(truth(eval(left, frame)?, place)? && truth(eval(right, frame)?, place)?));
        }
        Binary::Coalesce => {
            let value = eval(left, frame)?;
            return if value.is_missing() { eval(right, frame) } else { Ok(value) };
        }
        _ => {}
    }
    let (left, right) = (eval(left, frame)?, eval(right, frame)?);
    frame.budget.spend(left.reading().max(right.reading()), place)?;
    match operator {
        Binary::Equal => return Ok(Value::Bool(!left.is_missing() && left == right)),
        Binary::Unequal => return Ok(Value::Bool(left.is_missing() || left != right)),
        Binary::In => {
            return Ok(Value::Bool(match (&left, &right) {
                (Value::Missing, _) => false,
                (Value::Text(part), Value::Text(whole)) => whole.contains(&**part),
                (item, Value::List(items)) => {
                    frame.budget.spend(items.len() as u64 * item.reading(), "in")?;
                    items.contains(item)
                }
                (_, Value::Missing) => false,
                (_, other) => return Err(wrong("in", "a list or a text", other)),
            }));
        }
        _ => {}
    }
    if let (Value::Text(a), Value::Text(b)) = (&left, &right) {
        match operator {
            Binary::Less => return Ok(Value::Bool(a < b)),
            Binary::LessEqual => return Ok(Value::Bool(a <= b)),
            Binary::Greater => return Ok(Value::Bool(a > b)),
            Binary::GreaterEqual => return Ok(Value::Bool(a >= b)),
            _ => {}
        }
    }
    let compares = matches!(operator, Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual);
    let (Some(a), Some(b)) = (number(left, place)?, number(right, place)?) else {
        return Ok(if compares { Value::Bool(false) } else { Value::Missing });
    };
    match operator {
        Binary::Less => Ok(Value::Bool(a < b)),
        Binary::LessEqual => Ok(Value::Bool(a <= b)),
        Binary::Greater => Ok(Value::Bool(a > b)),
        Binary::GreaterEqual => Ok(Value::Bool(a >= b)),
        Binary::Add => finite(a + b),
        Binary::Subtract => finite(a - b),
        Binary::Multiply => finite(a * b),
        Binary::Divide => finite(a / b),
        Binary::Remainder => finite(a.rem_euclid(b)),
        // Done above.
        Binary::Or | Binary::And | Binary::Coalesce | Binary::Equal | Binary::Unequal | Binary::In => {
            Ok(Value::Missing)
        }
    }
}

fn regex<'r>(call: &RegexCall, frame: &Frame<'r>) -> Result<Value<'r>> {
    let text = match eval(&call.text, frame)? {
        Value::Text(text) => text,
        Value::Missing => {
            let condition = matches!(call.kind, RegexKind::Matches | RegexKind::FullMatch);
            return Ok(if condition { Value::Bool(false) } else { Value::Missing });
        }
        other => return Err(wrong("a pattern", "a text", &other)),
    };
    frame.budget.spend_bytes(text.len() * 4, "a pattern")?;
    let part = |start: usize, end: usize| match &text {
        Cow::Borrowed(text) => Value::Text(Cow::Borrowed(&text[start..end])),
        Cow::Owned(text) => Value::Text(Cow::Owned(text[start..end].to_owned())),
    };
    Ok(match call.kind {
        RegexKind::Matches | RegexKind::FullMatch => Value::Bool(call.regex.is_match(&text)),
        RegexKind::Find => call.regex.find(&text).map_or(Value::Missing, |found| part(found.start(), found.end())),
        RegexKind::Capture => {
            let found = call.regex.captures(&text).and_then(|groups| groups.name(&call.extra));
            found.map_or(Value::Missing, |found| part(found.start(), found.end()))
        }
        RegexKind::FindAll => {
            let mut items = Vec::new();
            for found in call.regex.find_iter(&text) {
                // Each search may look at the rest of the text again, before it finds that nothing fits.
                frame.budget.spend_bytes(found.len() + 64, "find_all")?;
                items.push(part(found.start(), found.end()));
            }
            Value::List(items)
        }
        RegexKind::Replace => {
            let mut out = String::new();
            let mut last = 0;
            for found in call.regex.captures_iter(&text) {
                // Group 0 is the whole match, and always there.
                let Some(whole) = found.get(0) else { continue };
                out.push_str(&text[last..whole.start()]);
                let before = out.len();
                found.expand(&call.extra, &mut out);
                frame.budget.spend_bytes(out.len() - before + 64, "replace_all")?;
                last = whole.end();
            }
            out.push_str(&text[last..]);
            Value::Text(Cow::Owned(out))
        }
    })
}

fn each<'r>(kind: Each, list: &Node, slot: usize, body: &Node, frame: &Frame<'r>) -> Result<Value<'r>> {
    let items = match eval(list, frame)? {
        Value::List(items) => items,
        Value::Missing if matches!(kind, Each::Any | Each::All) => return Ok(Value::Bool(false)),
        Value::Missing => return Ok(Value::Missing),
        other => return Err(wrong("a list function", "a list", &other)),
    };
    let (mut kept, mut sum, mut count) = (Vec::new(), 0.0, 0_usize);
    let total = items.len();
    for item in items {
        frame.budget.spend(item.copying(), "a list function")?;
        bind(frame, slot, item.clone());
        let value = eval(body, frame)?;
        match kind {
            Each::Map => kept.push(value),
            Each::Sum => sum += number(value, "sum")?.unwrap_or(0.0),
            _ => {
                let holds = truth(value, "a list function")?;
                count += usize::from(holds);
                match kind {
                    Each::Any if holds => return Ok(Value::Bool(true)),
                    Each::All if !holds => return Ok(Value::Bool(false)),
                    Each::Filter if holds => kept.push(item),
                    _ => {}
                }
            }
        }
    }
    match kind {
        Each::Map | Each::Filter => Ok(Value::List(kept)),
        Each::Sum => finite(sum),
        Each::Count => Ok(Value::Number(count as f64)),
        Each::Any => Ok(Value::Bool(count > 0)),
        Each::All => Ok(Value::Bool(count == total)),
    }
}
