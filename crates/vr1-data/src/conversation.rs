//! The `conversations` of a row: one question with its answer, or a staged conversation.

use serde_json::Value;

use crate::faults::{keys, shortened};
use crate::sample::STAGES;
use crate::spoken::{Spoken, stray};
use crate::{Fields, Speaker};

/// What the user asks, and the answer that counts as right.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// The question and, of several exchanges, what follows it.
    pub(crate) asked: Vec<Spoken>,
    /// Of several exchanges, what is said to each.
    pub(crate) answers: Vec<String>,
    pub(crate) solution: String,
}

impl Conversation {
    /// Reads a list of messages, `human` and `gpt` in turn.
    pub(crate) fn parse(messages: Value) -> Result<Self, String> {
        let Value::Array(messages) = messages else {
            return Err(format!("conversations: {} is not a list", shortened(&messages)));
        };
        check_roles(&messages)?;
        let (count, staged) = (messages.len(), messages.len() > 2);
        if count == 0 || count % 2 == 1 || count > 2 * STAGES.len() {
            return Err(format!(
                "conversations: {count} messages, should be questions with their answers, one to four"
            ));
        }
        let (mut asked, mut answers, mut solution) = (vec![], vec![], String::new());
        for (at, message) in messages.into_iter().enumerate() {
            let (value, stray) = value(at, message)?;
            if at.is_multiple_of(2) {
                let spoken = Spoken::text(format!("conversations[{at}]"), Speaker::User, text(at, value)?);
                asked.push(Spoken { stray, ..spoken });
            } else {
                solution = if at + 1 == count { solved(at, &value)? } else { solution };
                if staged {
                    answers.push(text(at, value)?);
                }
            }
        }
        Ok(Self { asked, answers, solution })
    }
}

/// Names a system's message, which there is no place for.
fn check_roles(messages: &[Value]) -> Result<(), String> {
    for (at, message) in messages.iter().enumerate() {
        for key in ["from", "role"] {
            if message.get(key).is_some_and(|who| who == "system") {
                return Err(format!(
                    "conversations[{at}].{key}: a \"system\" message is not read here; put its words into the prompt's text"
                ));
            }
        }
    }
    Ok(())
}

/// What message number `at` says, if it is from whom it should be, and a key of its media that is not read.
fn value(at: usize, message: Value) -> Result<(Value, Option<String>), String> {
    let Value::Object(mut fields) = message else {
        return Err(format!("conversations[{at}]: {} is no message", shortened(&message)));
    };
    let from = if at.is_multiple_of(2) { "human" } else { "gpt" };
    let has = |fields: &Fields| format!("the message has the keys {}", keys(fields));
    match fields.get("from") {
        Some(Value::String(found)) if found == from => {}
        Some(found) => return Err(format!("conversations[{at}].from: {}, should be \"{from}\"", shortened(found))),
        None => return Err(format!("conversations[{at}].from: missing, should be \"{from}\"; {}", has(&fields))),
    }
    let value = fields.shift_remove("value");
    let value = value.ok_or_else(|| format!("conversations[{at}].value: missing; {}", has(&fields)))?;
    Ok((value, stray(&format!("conversations[{at}]."), &fields)))
}

fn text(at: usize, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(format!("conversations[{at}].value: {} is no text", shortened(&other))),
    }
}

fn solved(at: usize, answer: &Value) -> Result<String, String> {
    match answer {
        Value::String(text) => Ok(in_last_answer(text).unwrap_or(text).trim().to_owned()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Array(_) => Ok(spaced(answer)),
        other => Err(format!("conversations[{at}].value: {} is no text, number or list", shortened(other))),
    }
}

/// What stands in the last `<answer>` that is closed and has no other in it.
fn in_last_answer(text: &str) -> Option<&str> {
    const OPEN: &str = "<answer>";
    const CLOSE: &str = "</answer>";
    let closed = |(at, _): (usize, &str)| {
        let inside = &text[at + OPEN.len()..];
        let end = inside.find(CLOSE)?;
        (!inside[..end].contains(OPEN)).then_some(&inside[..end])
    };
    text.rmatch_indices(OPEN).find_map(closed)
}

/// JSON with a space after each comma and colon.
fn spaced(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        Value::Object(items) => {
            let item = |(key, value): (&String, &Value)| format!("{}: {}", Value::from(key.as_str()), spaced(value));
            format!("{{{}}}", items.iter().map(item).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
