use serde_json::Value as Json;

use crate::{Budget, Result};

/// Which of several ```` ```json ```` fences is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// The first one.
    First,
    /// The last one.
    Last,
}

/// The JSON in a text, or in its ```` ```json ```` fence where it has one: what begins at the first bracket at which whole
/// JSON begins. Brackets in the words around are passed over. JSON that is cut off is none, and no part of it is; nor is what
/// is nested deeper than 127 times.
///
/// # Errors
/// When the work of passing over what is no JSON is more than `budget` has left for `place`.
pub fn json_in(text: &str, fence: Fence, budget: &Budget, place: &str) -> Result<Option<Json>> {
    let found = match fence {
        Fence::First => text.split_once("```json"),
        Fence::Last => text.rsplit_once("```json"),
    };
    let text = found.map_or(text, |(_, after)| after.split("```").next().unwrap_or(after));
    let mut from = 0;
    while let Some(at) = text[from..].find(['[', '{']).map(|length| from + length) {
        let rest = &text[at..];
        // What cannot begin JSON is not worth a try.
        let within = rest[1..].trim_start().chars().next();
        let opens = match within {
            Some('"' | '}') => true,
            Some(c) => {
                rest.starts_with('[') && (matches!(c, '[' | ']' | '{' | '-' | 't' | 'f' | 'n') || c.is_ascii_digit())
            }
            None => false,
        };
        if opens {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Json>();
            match values.next() {
                Some(Ok(json)) => return Ok(Some(json)),
                Some(Err(error)) if error.is_eof() || is_deep(&error) => return Ok(None),
                Some(Err(error)) => {
                    let lines = rest.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len);
                    budget.spend_bytes(lines.sum::<usize>() + error.column(), place)?;
                }
                None => return Ok(None),
            }
        }
        from = at + 1;
    }
    Ok(None)
}

fn is_deep(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("recursion limit")
}
