//! Answers that are texts and no formulas: words and codes, in which letters and digits have an order.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::names::{function, is_log};
use super::normalise::{Boxes, boxed, normalised, text_command};

/// An answer without what only sets it off: boxes, `\text{…}`, dollars, quotes, stars.
#[derive(Debug)]
pub(super) struct Bare<'t> {
    pub(super) text: Cow<'t, str>,
    /// Whether it stood between the marks of a formula.
    formula: bool,
    /// Whether it stood in a box or in `\text{…}`, without which it is to be read.
    pub(super) opened: bool,
    /// Without its units, words for marks replaced.
    plain: String,
}

/// How long an answer that is a text can be.
pub(super) const MAX_BYTES: usize = 256;

impl<'t> Bare<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let (mut formula, mut opened) = (false, false);
        let mut text = if text.contains("\\boxed") || text.contains("\\fbox") {
            opened = true;
            Cow::Owned(boxed(text, Boxes::All))
        } else {
            Cow::Borrowed(text)
        };
        for _ in 0..4 {
            let inner = text.trim();
            let inside = if let Some(inside) = text_command(inner) {
                (formula, opened) = (false, true);
                inside
            } else if let Some(inside) = between(inner, "$$", "$$")
                .or_else(|| between(inner, "$", "$"))
                .or_else(|| between(inner, "\\(", "\\)"))
                .or_else(|| between(inner, "\\[", "\\]"))
            {
                formula = true;
                inside
            } else if let Some(inside) = ["**", "*", "`", "\""].iter().find_map(|mark| between(inner, mark, mark)) {
                opened = true;
                inside
            } else {
                break;
            };
            text = Cow::Owned(inside.to_owned());
        }
        let plain = if text.len() > MAX_BYTES { String::new() } else { normalised(&text, Boxes::All) };
        Self { text, formula, opened, plain }
    }

    /// Letters alone, and what may stand around them: a word is a word, and not a product of its letters.
    pub(super) fn is_word(&self) -> bool {
        !self.formula
            && self.text.chars().all(|c| c.is_alphabetic() || c.is_whitespace() || matches!(c, '-' | '.' | '(' | ')'))
    }

    /// Whether letters and digits make no formula: without an operator, a digit right behind a letter, or a word at the
    /// beginning or behind a space.
    pub(super) fn is_text(&self) -> bool {
        // Of prose with a formula in it, the formula counts.
        if self.text.contains(['$', '\n']) || self.text.contains("\\(") || self.text.contains("\\[") {
            return false;
        }
        let operator = |c: char| "+-*/^=<>\\×÷·⋅∗±≤≥≠≈∪∩∈√∞°:_|!%".contains(c);
        !self.plain.contains(operator)
            && (letters(&self.plain).any(|run| {
                run.digit_behind || (!self.formula && run.is_word() && matches!(run.before, None | Some(Before::Space)))
            }))
            || is_compound(&self.plain)
    }

    /// Whether it is one word with a digit behind a letter.
    pub(super) fn is_code(&self) -> bool {
        self.is_text() && !self.text.trim().contains(' ') && self.text.contains(|c: char| c.is_ascii_digit())
    }

    /// Whether it is, or holds, words rather than names of a formula.
    pub(super) fn holds_words(&self) -> bool {
        letters(&self.plain).any(|run| {
            let vowel = || run.text.contains(|c: char| "aeiouyAEIOUY".contains(c));
            // `2xy` is a product, `4dogs` is not.
            let glued = run.before == Some(Before::Digit);
            run.is_word() && (!glued || !run.text.is_ascii() || (run.text.len() > 3 && vowel()))
        })
    }

    /// What stands before units that divide or multiply each other: `10` of `10 m/s`.
    pub(super) fn amount(&self) -> Option<&str> {
        static UNITS: LazyLock<Regex> = LazyLock::new(|| {
            let unit = r"(?:[kcm]?m|k?g|m?s|min|hr?|[lLdNJWVAK]|mol)(?:\s*\^\s*[{(]?-?\d[})]?)?";
            Regex::new(&format!(r"([\d}})])\s*{unit}(?:\s*[/·⋅*]\s*{unit})+$")).expect("the pattern is a constant")
        });
        if !self.plain.contains(['/', '·', '⋅', '*']) {
            return None;
        }
        let amount = &self.plain[..UNITS.captures(&self.plain)?.get(1)?.end()];
        letters(amount).next().is_none().then_some(amount)
    }

    pub(super) fn same_text(&self, other: &Self) -> bool {
        spelling(&self.text) == spelling(&other.text)
    }
}

fn between<'t>(text: &'t str, open: &str, close: &str) -> Option<&'t str> {
    let inside = text.strip_prefix(open)?.strip_suffix(close)?;
    (!inside.trim().is_empty() && !inside.contains(open) && !inside.contains(close)).then_some(inside)
}

/// `H₂O`: symbols of elements with their numbers below, two at least.
fn is_compound(text: &str) -> bool {
    let mut rest = text;
    let (mut symbols, mut numbers) = (0, 0);
    while let Some(tail) = rest.strip_prefix(|c: char| c.is_ascii_uppercase()) {
        symbols += 1;
        rest = tail.strip_prefix(|c: char| c.is_ascii_lowercase()).unwrap_or(tail);
        let Some((number, tail)) = rest.strip_prefix("_{").and_then(|tail| tail.split_once('}')) else { continue };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return false;
        }
        numbers += 1;
        rest = tail;
    }
    rest.is_empty() && symbols > 1 && numbers > 0
}

/// A text as it is compared: case, braces, quotes and the marks at its ends aside, its spaces single.
fn spelling(text: &str) -> String {
    let kept = text.to_lowercase().replace(['{', '}', '_', '"', '\'', '$'], "");
    let ends = |c: char| c.is_whitespace() || matches!(c, '.' | ',' | ';' | ':' | '!' | '*' | '(' | ')' | '[' | ']');
    kept.trim_matches(ends).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands before letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Space,
    Digit,
    Mark,
}

/// Letters that follow each other.
#[derive(Debug)]
struct Letters<'t> {
    text: &'t str,
    before: Option<Before>,
    digit_behind: bool,
}

impl Letters<'_> {
    /// Two letters or more that name nothing of a formula.
    fn is_word(&self) -> bool {
        self.text.chars().nth(1).is_some() && !names(self.text)
    }
}

fn names(letters: &str) -> bool {
    const NAMES: [&str; 36] = [
        "sqrt", "pi", "gcd", "lcm", "max", "min", "mod", "asin", "acos", "atan", "arccot", "coth", "alpha", "beta",
        "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi", "rho",
        "sigma", "tau", "phi", "chi", "psi", "omega", "det", "abs", "tg",
    ];
    let lower = letters.to_lowercase();
    function(&lower).is_some() || is_log(&lower) || NAMES.contains(&lower.as_str())
}

/// The letters of a text that belong to no command of LaTeX and to no name in braces behind one.
fn letters(text: &str) -> impl Iterator<Item = Letters<'_>> {
    const NAMED: [&str; 8] = ["begin", "end", "operatorname", "mathrm", "mathbb", "mathbf", "mathcal", "mathit"];
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = &text[at..];
            let start = at + rest.find(|c: char| c.is_alphabetic())?;
            let length = text[start..].find(|c: char| !c.is_alphabetic()).unwrap_or(text.len() - start);
            let end = start + length;
            let name = &text[start..end];
            let before = text[..start].chars().next_back();
            at = end;
            if before == Some('\\') {
                if NAMED.contains(&name) && text[end..].starts_with('{') {
                    at = text[end..].find('}').map_or(text.len(), |close| end + close);
                }
                continue;
            }
            let before = before.map(|c| match c {
                c if c.is_whitespace() => Before::Space,
                c if c.is_ascii_digit() => Before::Digit,
                _ => Before::Mark,
            });
            let digit_behind = text[end..].starts_with(|c: char| c.is_ascii_digit());
            return Some(Letters { text: name, before, digit_behind });
        }
    })
}
