//! A row of a benchmark, and what is asked of its columns.

use serde_json::Value;
use vr1_data::{Media, Place, Sample};

use crate::choices::numbered;
use crate::{Gold, Item};

/// A row, read.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// As an error names it: the file and the row.
    pub(crate) at: String,
    /// The file's name without its ending.
    pub(crate) file: String,
    /// Which of its columns have become which.
    pub(crate) columns: &'static [(&'static str, &'static [&'static str])],
    pub(crate) sample: Sample,
}

/// Why a row cannot be used: its column and the reason.
pub(crate) type Fault = String;

/// Makes a question of a row.
pub(crate) type ToItem = fn(Row) -> Result<Item, Fault>;

impl Row {
    /// The text of a column, or the number or truth value in it as text; nothing where it is absent, null or empty.
    pub(crate) fn optional(&self, column: &str) -> Option<String> {
        self.sample.fields.get(column).and_then(text_of).filter(|text| !text.is_empty())
    }

    /// The text of a column.
    pub(crate) fn text(&self, column: &str) -> Result<String, Fault> {
        self.optional(column).ok_or_else(|| match self.sample.fields.get(column) {
            None => format!("{column}: missing; the row has the columns {}", self.names()),
            Some(value) => format!("{column}: {} is no text", brief(value)),
        })
    }

    /// The texts in a list, which may be written as JSON or as Python writes a list; nothing where it is absent or null.
    pub(crate) fn list(&self, column: &str) -> Result<Vec<String>, Fault> {
        match self.sample.fields.get(column) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| text_of(item).ok_or_else(|| format!("{column}: {} in a list of texts", brief(item))))
                .collect(),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(Vec::new()),
            Some(Value::String(text)) => {
                python_list(text).ok_or_else(|| format!("{column}: {text:?} is no list of texts"))
            }
            Some(other) => Err(format!("{column}: {} is no list of texts", brief(other))),
        }
    }

    /// A fault of the column that is read as `ours`, by the name that the file has for it.
    pub(crate) fn fault(&self, ours: &str, reason: impl std::fmt::Display) -> Fault {
        let theirs = self.columns.iter().find(|(name, _)| *name == ours).and_then(|(_, theirs)| theirs.first());
        format!("{}: {reason}", theirs.copied().unwrap_or(ours))
    }

    /// The number of the option whose letter the answer is.
    pub(crate) fn right_of(&self, options: &[String]) -> Result<usize, Fault> {
        let none = || format!("{:?} names none of {} options", self.sample.solution, options.len());
        numbered(&self.sample.solution, options.len()).ok_or_else(|| self.fault("answer", none()))
    }

    /// The row with those columns that stand in an object under `column` among its own.
    pub(crate) fn flattened(&self, column: &str) -> Self {
        let mut row = self.clone();
        if let Some(Value::Object(inner)) = self.sample.fields.get(column) {
            row.sample.fields.extend(inner.clone());
        }
        row
    }

    /// The options in these columns, one each; those that are absent or empty are left out.
    pub(crate) fn options(&self, columns: &[&str]) -> Vec<String> {
        columns.iter().filter_map(|column| self.optional(column)).collect()
    }

    /// Steps of reasoning, as a text or as a list of texts.
    pub(crate) fn steps(&self) -> Result<String, Fault> {
        match self.sample.fields.get("steps") {
            Some(Value::Array(_)) => Ok(self.list("steps")?.join("\n")),
            _ => self.text("steps"),
        }
    }

    /// What the row is counted under: those of these columns that it has.
    pub(crate) fn groups(&self, columns: &[&str]) -> Vec<(String, String)> {
        columns.iter().filter_map(|name| Some(((*name).to_owned(), self.optional(name)?))).collect()
    }

    /// The question that the row asks.
    pub(crate) fn into_item(mut self, template: &str, gold: Gold, groups: Vec<(String, String)>) -> Item {
        // A record says the answer as it is compared, so that an option is its letter.
        if let Gold::Option { .. } = gold {
            self.sample.solution = gold.said();
        }
        Item { sample: self.sample, at: self.at, template: template.to_owned(), gold, groups, size: None }
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.sample.fields.keys().take(16).map(String::as_str).collect();
        names.join(", ")
    }
}

/// A text, number or truth value as text.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// How a fault repeats a value.
pub(crate) fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A list of texts as JSON or Python writes it: `["a", 'b', 3]`.
pub(crate) fn python_list(text: &str) -> Option<Vec<String>> {
    if let Ok(Value::Array(items)) = serde_json::from_str(text) {
        return items.iter().map(text_of).collect();
    }
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let (mut items, mut rest) = (Vec::new(), inner.trim_start());
    while !rest.is_empty() {
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let (item, behind) = match quote {
            Some(quote) => quoted(&rest[1..], quote)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        items.push(item);
        let behind = behind.trim_start();
        rest = match behind.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if behind.is_empty() => behind,
            None => return None,
        };
    }
    Some(items)
}

/// A Python string up to its quote, and what is behind.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let (mut out, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                let (_, escaped) = chars.next()?;
                match escaped {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    '\\' | '\'' | '"' => out.push(escaped),
                    'x' | 'u' => {
                        let digits = if escaped == 'x' { 2 } else { 4 };
                        let code: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                        out.push(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32)?);
                    }
                    other => out.extend(['\\', other]),
                }
            }
            c if c == quote => return Some((out, &text[at + 1..])),
            c => out.push(c),
        }
    }
    None
}

/// A question whose `<image 1>`, `<image 2>`, … (or `<image1>`) are where its pictures are shown: the words without these
/// markers, the pictures in the order they are shown, and their places. A picture that is named again is shown the first
/// time, and one that is not named comes before the words.
pub(crate) fn placed(text: &str, pictures: &[(usize, Media)]) -> (String, Vec<Media>, Vec<Place>) {
    let (mut words, mut media, mut places, mut shown) = (String::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut rest, mut found) = (text, Vec::new());
    while let Some(at) = rest.find("<image") {
        let tail = &rest[at + "<image".len()..];
        let number = tail.split_once('>').and_then(|(number, _)| number.trim().parse::<usize>().ok());
        let known =
            number.and_then(|number| pictures.iter().find(|(n, _)| *n == number)).filter(|(n, _)| !shown.contains(n));
        let end = at + "<image".len() + tail.find('>').map_or(0, |at| at + 1);
        match known {
            Some((number, picture)) => {
                words.push_str(&rest[..at]);
                shown.push(*number);
                found.push((words.len(), picture.clone()));
            }
            None => words.push_str(&rest[..end]),
        }
        rest = &rest[end..];
    }
    words.push_str(rest);
    let first = pictures.iter().filter(|(number, _)| !shown.contains(number)).map(|(_, picture)| (0, picture.clone()));
    for (at, picture) in first.chain(found) {
        media.push(picture);
        places.push(Place { turn: 0, at });
    }
    (words, media, places)
}
