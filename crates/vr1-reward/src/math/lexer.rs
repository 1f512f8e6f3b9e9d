//! LaTeX to tokens.

use super::names::function;
use super::numeral::numeral;

/// A mark of LaTeX, spaces left out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// Digits, with at most one decimal point; spaces between groups of three are gone.
    Number(String),
    Letter(char),
    /// `\name`.
    Command(String),
    /// `\text{…}` and its kin, with what is inside.
    Text(String),
    Symbol(char),
    /// `\\`, the end of a matrix row.
    Row,
}

/// More than this is no answer.
pub(crate) const MAX_TOKENS: usize = 4096;

/// Commands that only place or size what follows.
const LAYOUT: [&str; 25] = [
    "left",
    "right",
    "mleft",
    "mright",
    "middle",
    "big",
    "Big",
    "bigg",
    "Bigg",
    "bigl",
    "bigr",
    "Bigl",
    "Bigr",
    "displaystyle",
    "textstyle",
    "limits",
    "nolimits",
    "mathrm",
    "mathbf",
    "mathit",
    "mathsf",
    "rm",
    "bf",
    "hfill",
    "boldsymbol",
];

/// What `\operatorname` may name beside the functions that have a command of their own.
const OPERATORS: [&str; 8] = ["lcm", "gcd", "max", "min", "log", "ln", "lg", "exp"];

const TEXTS: [&str; 9] =
    ["text", "textbf", "textit", "textrm", "textnormal", "mbox", "textsf", "texttt", "operatorname"];

pub(crate) fn tokens(latex: &str) -> Option<Vec<Token>> {
    let chars: Vec<char> = latex.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        if out.len() > MAX_TOKENS {
            return None;
        }
        at += 1;
        match c {
            c if c.is_whitespace() || c == '~' => {}
            '0'..='9' => {
                let (number, end) = numeral(&chars, at - 1);
                at = end;
                out.push(Token::Number(number));
            }
            '.' if chars.get(at).is_some_and(char::is_ascii_digit) => {
                let start = at;
                while chars.get(at).is_some_and(char::is_ascii_digit) {
                    at += 1;
                }
                let digits: String = chars[start..at].iter().collect();
                out.push(Token::Number(format!("0.{digits}")));
            }
            '\\' => at = command(&chars, at, &mut out)?,
            '\'' | '"' => {}
            // `4! = 24` is an equation.
            '!' if chars.get(at) == Some(&'=') => {
                at += 1;
                out.push(Token::Command("ne".into()));
            }
            c => out.extend(plain(c)),
        }
    }
    Some(out)
}

fn command(chars: &[char], mut at: usize, out: &mut Vec<Token>) -> Option<usize> {
    let Some(&first) = chars.get(at) else { return Some(at) };
    if !first.is_ascii_alphabetic() {
        match first {
            '\\' => out.push(Token::Row),
            '{' => out.push(Token::Command("{".into())),
            '}' => out.push(Token::Command("}".into())),
            '|' => out.push(Token::Command("|".into())),
            '%' => out.push(Token::Symbol('%')),
            '(' | ')' | '[' | ']' | ',' | ';' | ':' | '!' | ' ' | '>' | '$' => {}
            other => out.extend(plain(other)),
        }
        return Some(at + 1);
    }
    let start = at;
    while chars.get(at).is_some_and(char::is_ascii_alphabetic) {
        at += 1;
    }
    let name: String = chars[start..at].iter().collect();
    // `\quadx` is a space that ran into a letter.
    if let Some(space) = ["qquad", "quad"].iter().find(|space| name.starts_with(**space)) {
        return Some(start + space.len());
    }
    if TEXTS.contains(&name.as_str()) {
        let mut open = at;
        while chars.get(open).is_some_and(|c| c.is_whitespace()) {
            open += 1;
        }
        if chars.get(open) == Some(&'{') {
            let close = closing(chars, open)?;
            let inside: String = chars[open + 1..close].iter().collect();
            let known = name == "operatorname" && (function(&inside).is_some() || OPERATORS.contains(&inside.as_str()));
            out.push(if known { Token::Command(inside) } else { Token::Text(inside) });
            return Some(close + 1);
        }
        return Some(at);
    }
    if !LAYOUT.contains(&name.as_str()) {
        out.push(Token::Command(name));
    }
    Some(at)
}

/// The brace that closes the one at `open`.
fn closing(chars: &[char], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in chars.iter().enumerate().skip(open) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// One character, Unicode's mathematical signs as the commands they stand for.
fn plain(c: char) -> Vec<Token> {
    let command = |name: &str| vec![Token::Command(name.into())];
    match c {
        'π' => command("pi"),
        '√' => command("sqrt"),
        '×' | '·' | '⋅' | '∗' => command("times"),
        '÷' => command("div"),
        '≤' | '⩽' => command("le"),
        '≥' | '⩾' => command("ge"),
        '≠' => command("ne"),
        '≈' => command("approx"),
        '∞' => command("infty"),
        '∪' => command("cup"),
        '∩' => command("cap"),
        '∈' => command("in"),
        '±' => command("pm"),
        '∅' => command("emptyset"),
        'ℝ' | 'ℤ' | 'ℕ' | 'ℚ' | 'ℂ' => vec![Token::Command("mathbb".into()), Token::Symbol(c)],
        '⌊' => command("lfloor"),
        '⌋' => command("rfloor"),
        '⌈' => command("lceil"),
        '⌉' => command("rceil"),
        '−' | '–' => vec![Token::Symbol('-')],
        '°' => vec![Token::Symbol('^'), Token::Command("circ".into())],
        c if c.is_alphabetic() => vec![Token::Letter(c)],
        c => vec![Token::Symbol(c)],
    }
}
