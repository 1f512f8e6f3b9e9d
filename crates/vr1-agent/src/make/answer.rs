//! What is read from an answer.

use regex::Regex;
use serde_json::Value;
use vr1_data::Fields;

/// The first JSON object in a text, the words and the fence around it passed over.
pub(crate) fn object(text: &str) -> Option<Fields> {
    let at = text.find('{')?;
    match serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>().next()?.ok()? {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// The last list of `count` numbers in a text, each from the lowest to the highest.
pub(crate) fn grades(text: &str, count: usize, (from, to): (f64, f64)) -> Option<Vec<f64>> {
    let list = |at: usize| {
        let value = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Vec<f64>>().next()?.ok()?;
        (value.len() == count && value.iter().all(|grade| (from..=to).contains(grade))).then_some(value)
    };
    text.rmatch_indices('[').find_map(|(at, _)| list(at))
}

/// What a JSON value says as text: a text itself, anything else its JSON.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The pieces of an answer, or the name of one that it lacks.
pub(crate) fn pieces(read: &[(String, Regex)], completion: &str) -> Result<Fields, String> {
    let piece = |(name, pattern): &(String, Regex)| {
        let found = pattern.captures(completion).and_then(|found| found.get(1).or(found.get(0)));
        let text = found.map(|found| found.as_str().trim()).filter(|text| !text.is_empty());
        text.map(|text| (name.clone(), Value::from(text))).ok_or_else(|| name.clone())
    };
    read.iter().map(piece).collect()
}
