use serde_json::Value;

use crate::rendered::Rendered;
use crate::{Message, Part, Role, Tokenizer, Voice};

/// Two characters that no message uses, put around roles, ends and media which words spell, so that they can be told
/// from the template's own after rendering.
pub(crate) struct Marks {
    open: char,
    close: char,
}

impl Marks {
    pub(crate) fn unused_in(messages: &[Message], tools: &[Value]) -> Self {
        let parts = || messages.iter().flat_map(|message| &message.parts);
        let used = |mark: char| {
            tools.iter().any(|tool| tool.to_string().contains(mark))
                || parts().any(|part| match part {
                    Part::Text(text) => text.contains(mark),
                    Part::ToolCall { name, arguments } => name.contains(mark) || arguments.to_string().contains(mark),
                    Part::Image(_) | Part::Video(_) => false,
                })
        };
        let mut free = ('\u{F0000}'..='\u{FFFFD}').filter(|&mark| !used(mark));
        // Some 65,000 private characters: no conversation uses all but one.
        Self { open: free.next().unwrap_or('\u{F0000}'), close: free.next().unwrap_or('\u{F0001}') }
    }

    /// The message's texts with the tokens that they spell and are not marked, also where neighbouring texts only spell one
    /// together; what was marked goes to `marked`.
    pub(crate) fn mark(&self, message: &Message, tokenizer: &Tokenizer, marked: &mut Vec<String>) -> Vec<String> {
        let mut texts = Vec::new();
        let voice = if message.role == Role::Assistant { Voice::Model } else { Voice::User };
        // Calls stand apart from the content; the texts around one are neighbours in it.
        let content: Vec<&Part> = message.parts.iter().filter(|part| !matches!(part, Part::ToolCall { .. })).collect();
        for run in content.chunk_by(|a, b| matches!((a, b), (Part::Text(_), Part::Text(_)))) {
            let words: Vec<&str> = run
                .iter()
                .filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None })
                .collect();
            let literals = tokenizer.literals(&[(words.concat().as_str(), voice)]);
            let mut start = 0;
            for word in words {
                let mut text = String::with_capacity(word.len());
                let mut at = 0;
                for literal in literals.iter().filter(|l| l.start < start + word.len() && l.end > start) {
                    let (from, to) = (literal.start.max(start) - start, literal.end.min(start + word.len()) - start);
                    text.push_str(&word[at..from]);
                    self.push(&mut text, &word[from..to], marked);
                    at = to;
                }
                text.push_str(&word[at..]);
                texts.push(text);
                start += word.len();
            }
        }
        texts
    }

    /// JSON with the tokens that its texts spell and are not marked; what was marked goes to `marked`.
    pub(crate) fn mark_json(&self, value: &Value, tokenizer: &Tokenizer, marked: &mut Vec<String>) -> Value {
        match value {
            Value::String(text) => self.mark_text(text, tokenizer, marked).into(),
            Value::Array(items) => items.iter().map(|item| self.mark_json(item, tokenizer, marked)).collect(),
            Value::Object(map) => map
                .iter()
                .map(|(key, item)| (self.mark_text(key, tokenizer, marked), self.mark_json(item, tokenizer, marked)))
                .collect(),
            scalar => scalar.clone(),
        }
    }

    /// What tools are called with is data whoever calls.
    fn mark_text(&self, text: &str, tokenizer: &Tokenizer, marked: &mut Vec<String>) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for literal in tokenizer.literals(&[(text, Voice::User)]) {
            out.push_str(&text[at..literal.start]);
            self.push(&mut out, &text[literal.clone()], marked);
            at = literal.end;
        }
        out + &text[at..]
    }

    fn push(&self, out: &mut String, literal: &str, marked: &mut Vec<String>) {
        out.push(self.open);
        out.push_str(literal);
        out.push(self.close);
        marked.push(literal.into());
    }

    /// Takes the marks out again; `None` when one has lost its partner.
    pub(crate) fn read(&self, text: &str, marked: &[String]) -> Option<Rendered> {
        let mut rendered = Rendered::default();
        let mut rest = text;
        while let Some(at) = rest.find([self.open, self.close]) {
            rendered.push_markup(&rest[..at]);
            let inside = rest[at..].strip_prefix(self.open)?;
            let (literal, after) = inside.split_once(self.close)?;
            if !marked.iter().any(|m| m == literal) {
                return None;
            }
            rendered.push_literal(literal);
            rest = after;
        }
        rendered.push_markup(rest);
        Some(rendered)
    }
}
