//! Rewards and prompts that other systems have by name.

use serde_json::{Value, json};
use vr1_reward::builtin_programs;

use super::draft::Draft;

/// A reward that is to be written, where the source's cannot be known.
pub(super) fn unknown_reward(draft: &mut Draft, name: &str, comment: &str) {
    draft.placeholder(&format!("reward.terms.{name}"), "exact(answer, solution)", comment);
}

/// The terms of a built-in program, each a name and an expression, without its total.
pub(super) fn terms_of(program: &str) -> Vec<(String, Value)> {
    let text = builtin_programs().find(|(name, _)| *name == program).map(|(_, yaml)| yaml).unwrap_or_default();
    let value: Value = vr1_run::from_str(program, text, &[]).unwrap_or_default();
    let terms = value.get("terms").and_then(Value::as_object).cloned().unwrap_or_default();
    terms.into_iter().collect()
}

/// A name as the reward language has them.
pub(super) fn term(name: &str) -> String {
    let last = name.rsplit(['.', ':', '/']).next().unwrap_or(name);
    let plain: String = last.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if plain.starts_with(|c: char| c.is_ascii_alphabetic()) { plain } else { format!("term_{plain}") }
}

/// A weighed sum.
pub(super) fn total(terms: &[(String, f64)]) -> String {
    let one = |(name, weight): &(String, f64)| if *weight == 1.0 { name.clone() } else { format!("{weight} * {name}") };
    terms.iter().map(one).collect::<Vec<_>>().join(" + ")
}

/// Rows of `path`: of a data set on the Hub the files of `split`, and of a folder or a file all.
pub(super) fn rows(path: &str, folder: Option<&str>, split: Option<&str>) -> Value {
    let hub = path.split('/').count() == 2 && !path.starts_with(['.', '/', '$', '~']) && !path.contains(".json");
    let mut source = json!({ "kind": "rows", "path": path });
    if let (true, Some(split)) = (hub, split) {
        source["files"] = format!("{}/{split}-*", folder.unwrap_or("data")).into();
    }
    source
}
