use serde_json::Value;

/// A recipe that is being written: values under dotted keys, with comments.
#[derive(Debug, Default)]
pub(super) struct Draft {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    path: Vec<String>,
    value: Value,
    comment: Option<String>,
    placeholder: bool,
}

/// The order of the keys at a recipe's top.
const TOP: [&str; 18] = [
    "system",
    "differences",
    "model",
    "media",
    "seed",
    "steps",
    "objective",
    "freeze",
    "lora",
    "reference",
    "recompute",
    "prompt",
    "reward",
    "optimizer",
    "evaluation",
    "save_every_steps",
    "keep_checkpoints",
    "keep_best",
];

impl Draft {
    /// Puts a value under a dotted key.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.put(key, value.into(), None, false);
    }

    /// The same with something to say of it.
    pub(super) fn set_with(&mut self, key: &str, value: impl Into<Value>, comment: &str) {
        self.put(key, value.into(), Some(comment.to_owned()), false);
    }

    /// A value that the source does not say, and that is to be filled in.
    pub(super) fn placeholder(&mut self, key: &str, value: impl Into<Value>, comment: &str) {
        self.put(key, value.into(), Some(format!("PLACEHOLDER: {comment}")), true);
    }

    fn put(&mut self, key: &str, value: Value, comment: Option<String>, placeholder: bool) {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let entry = Entry { path, value, comment, placeholder };
        match self.entries.iter_mut().find(|known| known.path == entry.path) {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.path.join(".") == key)
    }

    pub(super) fn placeholders(&self) -> Vec<String> {
        self.entries.iter().filter(|entry| entry.placeholder).map(|entry| entry.path.join(".")).collect()
    }

    pub(super) fn yaml(&self, head: &str) -> String {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        let place = |entry: &&Entry| TOP.iter().position(|key| *key == entry.path[0]).unwrap_or(TOP.len());
        entries.sort_by_key(place);
        let mut text = format!("# {head}\n");
        write(&entries, 0, &mut text);
        text
    }
}

/// Entries that have the first `depth` parts of their keys in common.
fn write(entries: &[&Entry], depth: usize, text: &mut String) {
    let mut written: Vec<&str> = Vec::new();
    for entry in entries {
        let key = entry.path[depth].as_str();
        if written.contains(&key) {
            continue;
        }
        written.push(key);
        let indent = "  ".repeat(depth);
        let these: Vec<&Entry> = entries.iter().copied().filter(|other| other.path[depth] == key).collect();
        let plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let name = if plain { key.to_owned() } else { Value::from(key).to_string() };
        match &entry.value {
            _ if entry.path.len() > depth + 1 => {
                text.push_str(&format!("{indent}{name}:\n"));
                write(&these, depth + 1, text);
            }
            Value::Array(items) if items.len() > 1 && entry.comment.is_none() => {
                let items: String = items.iter().map(|item| format!("{indent}  - {item}\n")).collect();
                text.push_str(&format!("{indent}{name}:\n{items}"));
            }
            value => {
                let comment = entry.comment.as_ref().map(|comment| format!("  # {comment}")).unwrap_or_default();
                text.push_str(&format!("{indent}{name}: {value}{comment}\n"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_begin_alike_stand_together_and_the_top_is_in_order() {
        let mut draft = Draft::default();
        draft.set("objective.loss.beta", 0.04);
        draft.placeholder("model", "MODEL", "which?");
        draft.set("objective.kind", "grpo");
        draft.set_with("objective.loss.epsilon", 1e-7, "small");
        draft.set("reward.terms.a b", "1");
        let expected = "# head\nmodel: \"MODEL\"  # PLACEHOLDER: which?\nobjective:\n  loss:\n    beta: 0.04\n    epsilon: 1e-7  # small\n  \
                        kind: \"grpo\"\nreward:\n  terms:\n    \"a b\": \"1\"\n";
        assert_eq!(draft.yaml("head"), expected);
        assert_eq!(draft.placeholders(), ["model"]);
    }
}
