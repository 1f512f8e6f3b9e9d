//! Where in a text the answer stands.
//!
//! Candidates come in ranks: a box or "the final answer is …, I hope" first, then "final answer is", then "answer:",
//! "answer", and last any formula or number. Within a rank the one that ends last is tried first, and the first that can
//! be read is the answer.

use std::sync::LazyLock;

use regex::Regex;

use super::expr::{Answer, Expr};
use super::normalise::{Boxes, normalised};
use super::parser;

/// What may be an answer in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MathKinds {
    /// Formulas in LaTeX, and plain numbers and fractions.
    #[default]
    Both,
    /// Formulas alone.
    Latex,
    /// Plain numbers and fractions alone.
    Plain,
}

/// An answer that was found: its value, where it could be read, and its text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) answer: Option<Answer>,
    /// The text of the first candidate, readable or not.
    pub(crate) text: Option<String>,
}

/// More text than this before the end is not looked at.
const MAX_BYTES: usize = 64 * 1024;
/// How many candidates of a rank are tried, and how many places where the word "answer" stands are looked at, the last
/// ones.
const MAX_TRIES: usize = 24;

struct Patterns {
    final_answer: Regex,
    is: Regex,
    answer: Regex,
    plain: Regex,
    number: Regex,
    plain_here: Regex,
    number_here: Regex,
}

const NUMBER: &str = r"(?:(?P<integer1>-?[1-9]\d{0,2}(?:[ ,]\d{3})+)(?P<decimal1>\.\d+)?|(?P<integer2>-?\d+)(?P<decimal2>[.,]\d+)|(?P<decimal3>\.\d+)|(?P<integer3>-?\d+))(?P<percent>\s*(?:%|[Pp]ercent|[Pp]ercentage|[Pp]ct))?";
const BEFORE: &str = r"(?:^|\s|=)(?:\*\*)?";

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(pattern).expect("the patterns are constants");
    let operators = r"+\-*×/^()÷";
    let any = format!(r"[\d.\s{operators}]");
    let expr = format!(r"{BEFORE}(?P<expr>-?\(?-?\d{any}*[{operators}]{any}+\)?)(?:\*\*)?(?:\.|,|:|\s|\)|\$|$)");
    let currency = r"[$€£¥₹₽₪₩₫฿₡₢₣₤₥₦₧₨₭₮₯₰₱₲₳₴₵₶₷₸₺₻₼₾₿]?";
    let number = format!("{BEFORE}{currency}{NUMBER}");
    Patterns {
        final_answer: regex(r"(?i)final answer"),
        is: regex(r"(?s)^.{0,100}?\sis:?"),
        answer: regex(r"(?i)answer"),
        plain: regex(&expr),
        number: regex(&number),
        plain_here: regex(&format!(r"\A{expr}")),
        number_here: regex(&format!(r"\A{number}")),
    }
});

/// A formula's place and content.
#[derive(Debug, Clone, Copy)]
struct Formula<'t> {
    end: usize,
    content: &'t str,
    percent: bool,
}

#[derive(Debug)]
enum Candidate<'t> {
    Latex(Vec<Formula<'t>>),
    OpenBox(&'t str),
    Plain(&'t str),
    Number { text: String, percent: bool },
}

struct Placed<'t> {
    start: usize,
    end: usize,
    what: Candidate<'t>,
}

pub(crate) fn find(text: &str, kinds: MathKinds) -> Found {
    let mut from = text.len().saturating_sub(MAX_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let text = &text[from..];
    let mut found = Found::default();
    let ranks: [fn(&str, MathKinds) -> Vec<Placed<'_>>; 5] =
        [boxes_and_hopes, final_is, answer_colon, answer_word, anything];
    for rank in ranks {
        let mut candidates = rank(text, kinds);
        candidates.sort_by_key(|candidate| (std::cmp::Reverse(candidate.end), candidate.start));
        for candidate in candidates.into_iter().take(MAX_TRIES) {
            let (answer, own) = read(&candidate.what);
            if found.text.is_none() && !own.is_empty() {
                found.text = Some(own);
            }
            if answer.is_some() {
                found.answer = answer;
                return found;
            }
        }
    }
    found
}

fn read(candidate: &Candidate<'_>) -> (Option<Answer>, String) {
    match candidate {
        Candidate::OpenBox(text) => {
            let latex = normalised(text, Boxes::Last);
            (latex_answer(&latex), latex)
        }
        Candidate::Latex(formulas) => {
            let mut answers = Vec::new();
            let mut texts = Vec::new();
            for formula in formulas {
                let latex = normalised(formula.content, Boxes::All);
                let answer = latex_answer(&latex);
                answers.push(if formula.percent { answer.map(percent) } else { answer });
                texts.push(latex);
            }
            if answers.len() == 1 || answers.iter().any(Option::is_none) {
                return (answers.swap_remove(0), texts.swap_remove(0));
            }
            let mut items = Vec::new();
            for answer in answers.into_iter().flatten() {
                match answer {
                    Answer::Set(inner) => items.extend(inner),
                    other => items.push(other),
                }
            }
            (Some(Answer::Set(items)), texts.join(" and "))
        }
        Candidate::Plain(text) => (parser::parse(&text.replace(['\n', '\r'], " ")), (*text).to_owned()),
        Candidate::Number { text, percent: is_percent } => {
            let answer = match text.strip_prefix('-') {
                Some(rest) => parser::decimal(rest).map(Expr::negated),
                None => parser::decimal(text),
            };
            let answer = answer.map(Answer::Expr);
            (if *is_percent { answer.map(percent) } else { answer }, text.clone())
        }
    }
}

fn percent(answer: Answer) -> Answer {
    match answer {
        Answer::Expr(Expr::Percent(of)) => Answer::Expr(Expr::Percent(of)),
        Answer::Expr(expr) => Answer::Expr(Expr::Percent(Box::new(expr))),
        other => other,
    }
}

/// The formula; or, where it cannot be read as a whole, what stands after its last `=`.
fn latex_answer(latex: &str) -> Option<Answer> {
    parser::parse(latex).or_else(|| {
        if latex.contains([',', ';']) {
            return None;
        }
        let mut ends: Vec<usize> = Vec::new();
        let bytes = latex.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'='
                && !matches!(at.checked_sub(1).map(|before| bytes[before]), Some(b'\\' | b'<' | b'>' | b'!'))
            {
                ends.push(at + 1);
            }
        }
        let last = ends.last().filter(|_| ends.len() > 1)?;
        parser::parse(&latex[*last..])
    })
}

/// The formula that begins at `at`.
fn formula_at<'t>(text: &'t str, at: usize, gone: &mut Gone) -> Option<Formula<'t>> {
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

fn with_percent<'t>(text: &'t str, content: &'t str, end: usize) -> Formula<'t> {
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

/// `\frac{1}{2}` that stands in no formula.
fn bare_fraction(text: &str, at: usize) -> Option<Formula<'_>> {
    static FRACTION: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^-?\\frac\{-?\d+(?:[.,]\d+)?\}\{-?\d+(?:[.,]\d+)?\}").expect("the pattern is a constant")
    });
    let found = FRACTION.find(&text[at..])?;
    Some(with_percent(text, found.as_str(), at + found.end()))
}

/// Whether a formula may go over several lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    One,
    Any,
}

/// Closing marks that do not come again, so that many unclosed formulas cost no more than one.
#[derive(Default)]
struct Gone {
    dollars: bool,
    bracket: bool,
}

impl Gone {
    fn find(&mut self, text: &str, from: usize, close: &str, lines: Lines) -> Option<usize> {
        match close {
            "$$" if self.dollars => return None,
            "\\]" if self.bracket => return None,
            _ => {}
        }
        let mut at = from;
        let bytes = text.as_bytes();
        while at < bytes.len() {
            if lines == Lines::One && bytes[at] == b'\n' {
                return None;
            }
            let escaped = at > from && bytes[at - 1] == b'\\';
            if bytes[at..].starts_with(close.as_bytes()) && !escaped {
                return Some(at);
            }
            at += 1;
        }
        match close {
            "$$" => self.dollars = true,
            "\\]" => self.bracket = true,
            _ => {}
        }
        None
    }
}

/// The formula at `at` and those joined to it by `and`, `or` or a comma, up to six.
fn joined<'t>(text: &'t str, at: usize, gone: &mut Gone) -> Option<(usize, Vec<Formula<'t>>)> {
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
fn formulas<'t>(text: &'t str, keep: impl Fn(&[Formula<'t>]) -> bool) -> Vec<Placed<'t>> {
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

fn boxes_and_hopes(text: &str, kinds: MathKinds) -> Vec<Placed<'_>> {
    let mut out = Vec::new();
    for (start, end) in last_places(text, &PATTERNS.final_answer) {
        let after = &text[end..];
        let Some(after) = after.strip_prefix(" is") else { continue };
        let after = after.strip_prefix(':').unwrap_or(after).trim_start();
        let at = text.len() - after.len();
        let hopes = |after: usize| {
            let rest = &text[after..];
            let rest = rest.strip_prefix('.').unwrap_or(rest);
            rest.strip_prefix(char::is_whitespace).unwrap_or(rest).starts_with("I hope")
        };
        let candidates = [formula_group(text, at, kinds), plain_at(text, at.saturating_sub(1), kinds)];
        out.extend(candidates.into_iter().flatten().filter(|candidate| hopes(candidate.end)).map(|mut candidate| {
            candidate.start = start;
            candidate
        }));
    }
    if kinds != MathKinds::Plain
        && let Some(first) = text.find("\\boxed")
    {
        out.extend(formulas(text, |all| all.iter().any(|formula| formula.content.contains("\\boxed{"))));
        if let Some(last) = text.rfind('}').filter(|last| *last > first) {
            out.push(Placed { start: first, end: last + 1, what: Candidate::OpenBox(&text[first..=last]) });
        } else {
            out.push(Placed { start: first, end: text.len(), what: Candidate::OpenBox(&text[first..]) });
        }
    }
    out
}

fn formula_group(text: &str, at: usize, kinds: MathKinds) -> Option<Placed<'_>> {
    if kinds == MathKinds::Plain {
        return None;
    }
    let (end, all) = joined(text, at, &mut Gone::default())?;
    Some(Placed { start: at, end, what: Candidate::Latex(all) })
}

fn final_is(text: &str, kinds: MathKinds) -> Vec<Placed<'_>> {
    let mut out = Vec::new();
    for (start, end) in last_places(text, &PATTERNS.final_answer) {
        let Some(is) = PATTERNS.is.find(&text[end..]) else { continue };
        let at = end + is.end();
        let spaces = text[at..].len() - text[at..].trim_start().len();
        for candidate in [formula_group(text, at + spaces, kinds), plain_at(text, at, kinds)].into_iter().flatten() {
            out.push(Placed { start, ..candidate });
        }
    }
    out
}

fn answer_colon(text: &str, kinds: MathKinds) -> Vec<Placed<'_>> {
    after_answer(text, kinds, |after| after.strip_prefix(':'))
}

fn answer_word(text: &str, kinds: MathKinds) -> Vec<Placed<'_>> {
    after_answer(text, kinds, Some)
}

/// The first formula or number within 50 characters of the word.
fn after_answer<'t>(text: &'t str, kinds: MathKinds, mark: impl Fn(&'t str) -> Option<&'t str>) -> Vec<Placed<'t>> {
    let mut out = Vec::new();
    for (start, end) in last_places(text, &PATTERNS.answer) {
        let Some(after) = mark(&text[end..]) else { continue };
        let at = text.len() - after.len();
        let within = |count: usize| after.char_indices().take(count).map(|(offset, _)| at + offset);
        if let Some(candidate) = within(51).find_map(|at| formula_group(text, at, kinds)) {
            out.push(Placed { start, ..candidate });
        }
        if kinds == MathKinds::Latex {
            continue;
        }
        let line = after.split('\n').next().unwrap_or(after);
        // After the last `=` of the line, or else close by.
        let near = line.char_indices().take(101);
        let last_equals = near.filter(|(_, c)| *c == '=').last().map(|(offset, _)| offset);
        let starts = last_equals.into_iter().chain(line.char_indices().take(51).map(|(offset, _)| offset));
        let candidate = starts
            .filter_map(|offset| plain_at(text, at + offset, kinds))
            .find(|candidate| candidate.end <= at + line.len() && !text[candidate.end..].trim_start().starts_with('='));
        if let Some(candidate) = candidate {
            out.push(Placed { start, ..candidate });
        }
    }
    out
}

fn anything(text: &str, kinds: MathKinds) -> Vec<Placed<'_>> {
    let mut out = if kinds == MathKinds::Plain { Vec::new() } else { formulas(text, |_| true) };
    if kinds != MathKinds::Latex {
        for groups in PATTERNS.plain.captures_iter(text) {
            out.extend(plain_candidate(&groups, 0));
        }
        for groups in PATTERNS.number.captures_iter(text) {
            out.extend(number_candidate(&groups, 0));
        }
    }
    out
}

/// A plain expression or number that begins at `at`, with the space before it.
fn plain_at(text: &str, at: usize, kinds: MathKinds) -> Option<Placed<'_>> {
    if kinds == MathKinds::Latex || !text.is_char_boundary(at) {
        return None;
    }
    let window = &text[at..];
    let end = window.char_indices().nth(200).map_or(window.len(), |(end, _)| end);
    let window = &window[..end];
    if let Some(groups) = PATTERNS.plain_here.captures(window) {
        return plain_candidate(&groups, at);
    }
    number_candidate(&PATTERNS.number_here.captures(window)?, at)
}

/// Where a phrase stands, the last places alone.
fn last_places(text: &str, phrase: &Regex) -> Vec<(usize, usize)> {
    let mut places: Vec<(usize, usize)> = phrase.find_iter(text).map(|found| (found.start(), found.end())).collect();
    let surplus = places.len().saturating_sub(MAX_TRIES);
    places.drain(..surplus);
    places
}

fn plain_candidate<'t>(groups: &regex::Captures<'t>, offset: usize) -> Option<Placed<'t>> {
    let (whole, expr) = (groups.get(0)?, groups.name("expr")?);
    Some(Placed { start: offset + whole.start(), end: offset + whole.end(), what: Candidate::Plain(expr.as_str()) })
}

fn number_candidate<'t>(groups: &regex::Captures<'t>, offset: usize) -> Option<Placed<'t>> {
    let whole = groups.get(0)?;
    let part = |names: &[&str]| names.iter().find_map(|name| groups.name(name)).map_or("", |found| found.as_str());
    let integer = part(&["integer1", "integer2", "integer3"]).replace([',', ' '], "");
    let decimal = part(&["decimal1", "decimal2", "decimal3"]).replace(',', ".");
    let integer = if integer.is_empty() { "0" } else { &integer };
    let what = Candidate::Number { text: format!("{integer}{decimal}"), percent: groups.name("percent").is_some() };
    Some(Placed { start: offset + whole.start(), end: offset + whole.end(), what })
}
