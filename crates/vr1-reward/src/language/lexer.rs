//! Text to tokens.

use super::ast::{Fault, Span};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Name(String),
    Number(f64),
    Text(String),
    Symbol(&'static str),
    End,
}

impl Token {
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Number(number) => format!("`{number}`"),
            Self::Text(_) => "a text".into(),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::End => "the end of the expression".into(),
        }
    }
}

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 23] = [
    "==", "!=", "<=", ">=", "=>", "??", "<", ">", "+", "-", "*", "/", "%", "(", ")", "[", "]", ",", ".", "=", "&&",
    "||", "!",
];

pub(crate) fn tokens(source: &str) -> Result<Vec<(Token, Span)>, Fault> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = source[at..].chars().next() {
        let start = at;
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let token = if c.is_alphabetic() || c == '_' {
            at += length_while(&source[at..], |c| c.is_alphanumeric() || c == '_');
            Token::Name(source[start..at].to_owned())
        } else if c.is_ascii_digit() || (c == '.' && source[at + 1..].starts_with(|c: char| c.is_ascii_digit())) {
            at += number_length(&source[at..]);
            let span = Span { start, end: at };
            let text = source[start..at].replace('_', "");
            match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Token::Number(number),
                Ok(_) => return Err(Fault::error(span, "this number is too large", "beyond a 64-bit float")),
                Err(_) => return Err(Fault::error(span, format!("`{text}` is not a number"), "here")),
            }
        } else if c == '\'' || c == '"' {
            let (text, length) = quoted(&source[at..], c, start)?;
            at += length;
            Token::Text(text)
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| source[at..].starts_with(**symbol)) {
            at += symbol.len();
            let span = Span { start, end: at };
            let word = match *symbol {
                "&&" => "and",
                "||" => "or",
                "!" => "not",
                symbol => {
                    out.push((Token::Symbol(symbol), span));
                    continue;
                }
            };
            let message = format!("`{symbol}` is written `{word}` here");
            return Err(Fault::error(span, message, format!("write `{word}`")));
        } else {
            let span = Span { start, end: at + c.len_utf8() };
            return Err(Fault::error(span, format!("`{c}` has no meaning here"), "not part of the language"));
        };
        out.push((token, Span { start, end: at }));
    }
    out.push((Token::End, Span { start: source.len(), end: source.len() }));
    Ok(out)
}

fn length_while(text: &str, keep: impl Fn(char) -> bool) -> usize {
    text.find(|c| !keep(c)).unwrap_or(text.len())
}

fn number_length(text: &str) -> usize {
    let digits = |text: &str| length_while(text, |c| c.is_ascii_digit() || c == '_');
    let mut length = digits(text);
    if text[length..].starts_with('.') && text[length + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        length += 1 + digits(&text[length + 1..]);
    }
    if text[length..].starts_with(['e', 'E']) {
        let sign = usize::from(text[length + 1..].starts_with(['+', '-']));
        let exponent = digits(&text[length + 1 + sign..]);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

/// A quoted text and the bytes it takes. In `'…'` everything stands for itself and `''` is one quote, which is what a
/// regular expression wants; in `"…"` there are `\n`, `\t`, `\"` and `\\`.
fn quoted(source: &str, quote: char, offset: usize) -> Result<(String, usize), Fault> {
    let mut text = String::new();
    let mut chars = source.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') {
                chars.next();
                text.push('\'');
                continue;
            }
            return Ok((text, at + 1));
        }
        if c == '\\' && quote == '"' {
            let escaped = chars.next();
            match escaped.map(|(_, c)| c) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some(c @ ('"' | '\\')) => text.push(c),
                _ => {
                    let width = escaped.map_or(1, |(_, c)| 1 + c.len_utf8());
                    let span = Span { start: offset + at, end: offset + at + width };
                    let fault = Fault::error(span, "no such escape", r#"there are \n, \t, \" and \\"#);
                    return Err(fault.help("in '…' a backslash stands for itself"));
                }
            }
            continue;
        }
        text.push(c);
    }
    let span = Span { start: offset, end: offset + source.len() };
    Err(Fault::error(span, "this text has no end", format!("no closing {quote}")))
}
