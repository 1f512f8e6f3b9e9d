//! Formulas between their marks: `$…$`, `$$…$$`, `\(…\)`, `\[…\]`.

use std::sync::LazyLock;

use regex::Regex;

use super::extract::{Candidate, Placed};

/// A formula's place and content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Formula<'t> {
    pub(super) end: usize,
    pub(super) content: &'t str,
    pub(super) percent: bool,
}

/// The formula that begins at `at`.
pub(super) fn formula_at<'t>(text: &'t str, at: usize, gone: &mut Gone) -> Option<Formula<'t>> {
    let rest = &text[at..];
    let escaped = text[..at].ends_with('\\');
    let (open, content_end, close): (usize, usize, usize) = if rest.starts_with("$$") && !escaped {
        let end = gone.find(text, at + 2, "$$", Lines::Any)?;
        (2, end, 2)
    } else if rest.starts_with("\\[") && !escaped {
        (2, gone.find(text, at + 2, "\\]", Lines::Any)?, 2)
    } else if rest.starts_with('$') && !escaped && !text[..at].ends_with(|c: char| c.is_ascii_digit()) {
        (1, gone.find(text, at + 1, "$", Lines::One)?, 1)
    } else if rest.starts_with("\\(") && !escaped {
        (2, gone.find(text, at + 2, "\\)", Lines::One)?, 2)
    } else if rest.starts_with('[') && text[..at].ends_with(char::is_whitespace) {
        let end = at + 1 + rest[1..].find(['\n', '[', ']'])?;
        let after = text[end + 1..].chars().next();
        (text.as_bytes()[end] == b']' && after.is_some_and(char::is_whitespace)).then_some(())?;
        (1, end, 1)
    } else if rest.starts_with("\\frac{") || rest.starts_with("-\\frac{") {
        return bare_fraction(text, at);
    } else {
        return None;
    };
    let content = &text[at + open..content_end];
    if content.is_empty() {
        return None;
    }
    Some(with_percent(text, content, content_end + close))
}

pub(super) fn with_percent<'t>(text: &'t str, content: &'t str, end: usize) -> Formula<'t> {
    let after = &text[end..];
    let spaces = after.len() - after.trim_start().len();
    let tail = after.trim_start();
    let sign = ["\\%", "%", "percentage", "Percentage", "percent", "Percent", "pct", "Pct"];
    let found = sign.iter().find(|sign| tail.starts_with(**sign));
    match found {
        Some(sign) => Formula { end: end + spaces + sign.len(), content, percent: true },
        None => Formula { end, content, percent: false },
    }
}

/// `\frac{1}{2}` that stands in no formula, with the whole number before it.
pub(super) fn bare_fraction(text: &str, at: usize) -> Option<Formula<'_>> {
    static FRACTION: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^-?\\frac\{-?\d+(?:[.,]\d+)?\}\{-?\d+(?:[.,]\d+)?\}").expect("the pattern is a constant")
    });
    let end = at + FRACTION.find(&text[at..])?.end();
    let before = text[..at].trim_end_matches(' ');
    let digits = before.bytes().rev().take_while(u8::is_ascii_digit).count();
    let whole = before.len() - digits;
    // `x2`, `1.2`, `$2` are no whole numbers of it.
    let own = digits > 0
        && text.as_bytes()[at] == b'\\'
        && !text[..whole].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | ',' | '}' | ')' | '^' | '_'));
    let negative = own && text[..whole].ends_with('-') && !text[..whole - 1].ends_with(|c: char| c.is_alphanumeric());
    let start = if own { whole - usize::from(negative) } else { at };
    Some(with_percent(text, &text[start..end], end))
}

/// Whether a formula may go over several lines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    One,
    Any,
}

/// Where closing marks do not come again, so that many unclosed formulas cost no more than one.
#[derive(Default)]
pub(super) struct Gone {
    /// A mark, and from where to where there is none of it.
    none: Vec<(&'static str, usize, usize)>,
}

impl Gone {
    fn find(&mut self, text: &str, from: usize, close: &'static str, lines: Lines) -> Option<usize> {
        if self.none.iter().any(|(mark, start, end)| *mark == close && (*start..*end).contains(&from)) {
            return None;
        }
        let bytes = text.as_bytes();
        let mut at = from;
        while at < bytes.len() && !(lines == Lines::One && bytes[at] == b'\n') {
            let escaped = at > from && bytes[at - 1] == b'\\';
            if bytes[at..].starts_with(close.as_bytes()) && !escaped {
                return Some(at);
            }
            at += 1;
        }
        self.none.retain(|(mark, ..)| *mark != close);
        self.none.push((close, from, at));
        None
    }
}

/// The formula at `at` and those joined to it by `and`, `or` or a comma, up to six.
pub(super) fn joined<'t>(text: &'t str, at: usize, gone: &mut Gone) -> Option<(usize, Vec<Formula<'t>>)> {
    let first = formula_at(text, at, gone)?;
    let mut end = first.end;
    let mut all = vec![first];
    while all.len() < 6 {
        let after = text[end..].trim_start();
        let word = [",and", ",or", "and", "or", ","].iter().find(|word| after.starts_with(**word));
        let Some(word) = word else { break };
        let next = after[word.len()..].trim_start();
        let Some(formula) = formula_at(text, text.len() - next.len(), gone) else { break };
        end = formula.end;
        all.push(formula);
    }
    Some((end, all))
}

/// Every formula group of a text, from left to right.
pub(super) fn formulas<'t>(text: &'t str, keep: impl Fn(&[Formula<'t>]) -> bool) -> Vec<Placed<'t>> {
    let mut out = Vec::new();
    let mut gone = Gone::default();
    let mut at = 0;
    while let Some(next) = text[at..].find(['$', '\\', '[', '-']) {
        at += next;
        match joined(text, at, &mut gone) {
            Some((end, all)) if keep(&all) => {
                out.push(Placed { start: at, end, what: Candidate::Latex(all) });
                at = end;
            }
            // The marks are of one byte each.
            _ => at += 1,
        }
    }
    out
}
