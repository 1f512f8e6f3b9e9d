//! What a row asks, by the key it asks it under.

use serde_json::Value;

use crate::faults::{keys, shortened};
use crate::files::Root;
use crate::spoken::{Spoken, messages, present, turns};
use crate::{Fields, Speaker};

/// The keys that a prompt stands under; of several, the first in this order is it.
pub(crate) const KEYS: [&str; 5] = ["prompt", "question", "conversations", "messages", "instruction"];

/// The first of [`KEYS`] that a row has.
pub(crate) fn key(fields: &Fields) -> Option<&'static str> {
    KEYS.into_iter().find(|key| has(fields, key))
}

/// Whether something other than null stands under a key.
pub(crate) fn has(fields: &Fields, key: &str) -> bool {
    fields.get(key).is_some_and(|value| !value.is_null())
}

/// Takes the prompt under `key`, one of [`KEYS`].
pub(crate) fn take(fields: &mut Fields, key: &str, root: Root<'_>) -> Result<Vec<Spoken>, String> {
    match key {
        "prompt" => turns(key, present(fields, key).unwrap_or_default(), Speaker::User, root),
        "question" => Ok(vec![Spoken::text(key, Speaker::User, text(fields, key)?)]),
        "instruction" => alpaca(fields),
        _ => messages(key, present(fields, key).unwrap_or_default(), root),
    }
}

/// The row's `system`, if it has one, before the prompt.
pub(crate) fn below_system(fields: &mut Fields, mut prompt: Vec<Spoken>) -> Result<Vec<Spoken>, String> {
    let system = if has(fields, "system") { text(fields, "system")? } else { String::new() };
    if !system.is_empty() {
        if let Some(turn) = prompt.iter().find(|turn| turn.speaker == Speaker::System) {
            return Err(format!("system: {} is another system's turn", turn.at));
        }
        prompt.insert(0, Spoken::text("system", Speaker::System, system));
    }
    Ok(prompt)
}

/// Alpaca's `instruction` and, below it, `input`, after the exchanges of `history`.
fn alpaca(fields: &mut Fields) -> Result<Vec<Spoken>, String> {
    let mut prompt = vec![];
    let history = present(fields, "history").unwrap_or(Value::Array(vec![]));
    let pairs: Vec<[String; 2]> =
        serde_json::from_value(history).map_err(|e| format!("history: not a list of [question, answer]: {e}"))?;
    for (i, [question, answer]) in pairs.into_iter().enumerate() {
        prompt.push(Spoken::text(format!("history[{i}][0]"), Speaker::User, question));
        prompt.push(Spoken::text(format!("history[{i}][1]"), Speaker::Assistant, answer));
    }
    let mut asked = text(fields, "instruction")?;
    if has(fields, "input") {
        let input = text(fields, "input")?;
        let between = if asked.is_empty() || input.is_empty() { "" } else { "\n" };
        asked = format!("{asked}{between}{input}");
    }
    prompt.push(Spoken::text("instruction", Speaker::User, asked));
    Ok(prompt)
}

fn text(fields: &mut Fields, key: &str) -> Result<String, String> {
    match present(fields, key).unwrap_or_default() {
        Value::String(text) => Ok(text),
        other => Err(format!("{key}: {} is no text", shortened(&other))),
    }
}

/// What is wrong with a row that is of none of the `known` layouts.
pub(crate) fn unknown(fields: &Fields, known: &[&str]) -> String {
    format!("the keys {} are of no layout; known are {}", keys(fields), known.join("; "))
}
