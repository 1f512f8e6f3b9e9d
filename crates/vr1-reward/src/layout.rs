//! Where in a file an expression stands.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::language::ast::Fault;
use crate::language::check::nearest;
use crate::{Diagnostic, Error, ProgramSource, Result, Severity};

/// The keys of a program.
const KEYS: [&str; 6] = ["name", "about", "terms", "metrics", "total", "tests"];

/// Reads a program's YAML.
pub(crate) fn read(file: &str, yaml: &str) -> Result<ProgramSource> {
    serde_yaml::from_str(yaml).map_err(|error| {
        let reason = error.to_string();
        // "unknown field `terns`, expected one of …": say the nearest instead of all.
        let unknown = reason.split_once("unknown field `").and_then(|(_, rest)| rest.split_once('`'));
        let near = unknown.and_then(|(field, _)| nearest(field, KEYS.into_iter()));
        let help = near.map(|near| format!("did you mean `{near}`?"));
        let Some(place) = error.location() else { return Error::Yaml { reason: format!("error: {reason} ({file})") } };
        // The place is said by the arrow.
        let at = format!(" at line {} column {}", place.line(), place.column());
        let diagnostic = Diagnostic {
            severity: Severity::Error,
            message: reason.replace(&at, ""),
            place: "the file itself".to_owned(),
            line: place.line(),
            column: place.column(),
            width: 1,
            source_line: yaml.lines().nth(place.line().saturating_sub(1)).unwrap_or_default().to_owned(),
            label: String::new(),
            help,
        };
        Error::Yaml { reason: diagnostic.render(file).trim_end().to_owned() }
    })
}

/// The places of a file's expressions.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    chars: Vec<char>,
    /// From a path such as `terms.accuracy` to where its text begins, and how it is written.
    places: HashMap<String, (usize, Style)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Quoted,
    Block,
}

/// A collection the reader is inside of.
enum Level {
    Map(Option<String>),
    List(usize),
}

impl Layout {
    /// Finds every scalar of a YAML text; a text that is no YAML has none.
    pub(crate) fn of(yaml: &str) -> Self {
        let mut layout = Self { chars: yaml.chars().collect(), places: HashMap::new() };
        let mut levels: Vec<Level> = Vec::new();
        for event in Parser::new_from_str(yaml) {
            let Ok((event, span)) = event else { break };
            let start = span.start.index();
            let is_key = matches!(levels.last(), Some(Level::Map(None)));
            match event {
                Event::Scalar(text, ..) if is_key => {
                    if let Some(Level::Map(key)) = levels.last_mut() {
                        *key = Some(text.into_owned());
                    }
                    continue;
                }
                Event::Scalar(_, style, ..) => {
                    let style = match style {
                        ScalarStyle::Plain => Style::Plain,
                        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                        _ => Style::Block,
                    };
                    layout.places.insert(path(&levels), (start, style));
                }
                Event::MappingStart(..) => {
                    layout.places.insert(path(&levels), (start, Style::Plain));
                    levels.push(Level::Map(None));
                    continue;
                }
                Event::SequenceStart(..) => {
                    levels.push(Level::List(0));
                    continue;
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    levels.pop();
                }
                Event::Alias(_) => {}
                _ => continue,
            }
            // A value is complete: on to the next key or item.
            match levels.last_mut() {
                Some(Level::Map(key)) => *key = None,
                Some(Level::List(index)) => *index += 1,
                None => {}
            }
        }
        layout
    }

    /// The fault with its place: in the file where the expression is found there, else inside the expression.
    pub(crate) fn diagnostic(&self, path: &[&str], text: &str, fault: Fault) -> Diagnostic {
        let found = self.places.get(&path.join("."));
        let aligned = found.and_then(|(start, style)| self.aligned(*start, *style, text, path[0] == "tests"));
        let value: Vec<char> = text.chars().collect();
        let inside = |byte: usize| text[..byte.min(text.len())].chars().count();
        let (start, end) = (inside(fault.span.start), inside(fault.span.end));
        let (chars, start, end) = match &aligned {
            Some(places) if path[0] == "tests" => (&self.chars, places[0], places[0] + 1),
            Some(places) => {
                let last = places.get(end.saturating_sub(1).max(start)).or(places.last()).map_or(0, |at| at + 1);
                let first = places.get(start).copied().unwrap_or(last);
                (&self.chars, first, if end > start { last.max(first) } else { first })
            }
            None => (&value, start, end),
        };
        let line_start = chars[..start].iter().rposition(|c| *c == '\n').map_or(0, |at| at + 1);
        let line_end = chars[start..].iter().position(|c| *c == '\n').map_or(chars.len(), |at| start + at);
        Diagnostic {
            severity: fault.severity,
            message: fault.message,
            place: match path {
                [section @ ("terms" | "metrics"), name] => format!("{section}.{name}"),
                [section, index] => format!("{section}[{index}]"),
                _ => path.join("."),
            },
            line: chars[..start].iter().filter(|c| **c == '\n').count() + 1,
            column: start - line_start + 1,
            width: end.clamp(start, line_end).saturating_sub(start).max(1),
            source_line: chars[line_start..line_end].iter().collect(),
            label: fault.label,
            help: fault.help,
        }
    }

    /// For each character of a value its place in the file. Indentation, quotes and folds are passed over: what is no
    /// space stands in the file in the same order.
    fn aligned(&self, start: usize, style: Style, value: &str, is_test: bool) -> Option<Vec<usize>> {
        if is_test {
            return (start < self.chars.len()).then(|| vec![start]);
        }
        let mut at = match style {
            Style::Plain => start,
            Style::Quoted => start + 1,
            Style::Block => {
                // The mark is at `|` or `>`, or already past that line.
                let header = self.chars.get(start).is_some_and(|c| matches!(c, '|' | '>'));
                let line = self.chars[start.min(self.chars.len())..].iter().position(|c| *c == '\n');
                if header { start + line? + 1 } else { start }
            }
        };
        let mut places = Vec::new();
        for c in value.chars() {
            if c.is_whitespace() {
                places.push(at);
                if self.chars.get(at).is_some_and(|c| c.is_whitespace()) {
                    at += 1;
                }
                continue;
            }
            at += self.chars.get(at..)?.iter().position(|other| *other == c)?;
            places.push(at);
            at += 1;
        }
        (!places.is_empty()).then_some(places)
    }
}

fn path(levels: &[Level]) -> String {
    let parts: Vec<String> = levels
        .iter()
        .map(|level| match level {
            Level::Map(key) => key.clone().unwrap_or_default(),
            Level::List(index) => index.to_string(),
        })
        .collect();
    parts.join(".")
}
