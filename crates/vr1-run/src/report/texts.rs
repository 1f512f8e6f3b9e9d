//! Texts of a run as a page holds them: cut where they are very long.

use serde::Serialize;
use serde_json::Value;

/// A text, and how many letters were left out of its middle.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Text(pub(crate) String, pub(crate) usize);

/// The bytes that a text has at most.
const LONGEST: usize = 6_000;

impl Text {
    pub(crate) fn new(text: &str) -> Self {
        if text.len() <= LONGEST {
            return Self(text.to_owned(), 0);
        }
        let (head, tail) = (LONGEST * 2 / 3, text.len() - LONGEST / 3);
        let head = (0..=head).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let tail = (tail..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
        let left_out = text[head..tail].chars().count();
        Self(format!("{}\n[… {left_out} letters left out …]\n{}", &text[..head], &text[tail..]), left_out)
    }

    pub(crate) fn of(value: &Value) -> Self {
        Self::new(&plain(value))
    }
}

/// Text as it is, and of anything else its JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The bytes of a text within a page, where some letters are written as six.
pub(crate) fn size(text: &str) -> usize {
    let six = |byte: &u8| *byte < b' ' || b"<>&\"\\".contains(byte);
    text.len() + 5 * text.bytes().filter(six).count()
}
