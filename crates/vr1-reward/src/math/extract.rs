//! Where in a text the answer stands.
//!
//! Candidates come in ranks: a box or "the final answer is …, I hope" first, then "final answer is", then "answer:",
//! "answer", and last any formula or number. Within a rank the one that ends last is tried first, and the first that can
//! be read is the answer.

use std::sync::LazyLock;

use regex::Regex;

use super::expr::{Answer, Expr};
use super::formulas::{Formula, Gone, formulas, joined};
use super::normalise::{Boxes, normalised};
use super::numeric::Work;
use super::parser;
use super::parts::date;

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
    /// Whether the answer is all of the text it was found in.
    pub(crate) whole: bool,
}

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
    side_by_side: Regex,
}

const NUMBER: &str = r"(?:(?P<row>-?\d+(?:[.,]\d+)*(?: +\d+(?:[.,]\d+)*)+(?:/\d+)?)|(?P<integer1>-?[1-9]\d{0,2}(?:[ ,]\d{3})+)(?P<decimal1>\.\d+)?|(?P<integer2>-?\d+)(?P<decimal2>[.,]\d+)|(?P<decimal3>\.\d+)|(?P<integer3>-?\d+))(?P<percent>\s*(?:%|[Pp]ercent|[Pp]ercentage|[Pp]ct))?";
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
        side_by_side: regex(r"\d[ \t]+\d"),
    }
});

#[derive(Debug)]
pub(super) enum Candidate<'t> {
    Latex(Vec<Formula<'t>>),
    OpenBox(&'t str),
    Plain(&'t str),
    Number {
        text: String,
        percent: bool,
    },
    /// Numerals side by side.
    Row {
        text: &'t str,
        percent: bool,
    },
}

pub(super) struct Placed<'t> {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) what: Candidate<'t>,
}

pub(crate) fn find(text: &str, kinds: MathKinds, work: &Work) -> Found {
    let mut found = Found::default();
    let ranks: [fn(&str, MathKinds) -> Vec<Placed<'_>>; 5] =
        [boxes_and_hopes, final_is, answer_colon, answer_word, anything];
    for rank in ranks {
        let mut candidates = rank(text, kinds);
        candidates.sort_by_key(|candidate| (std::cmp::Reverse(candidate.end), candidate.start));
        for candidate in candidates.into_iter().take(MAX_TRIES) {
            let (answer, own) = read(&candidate.what, work);
            if found.text.is_none() && !own.is_empty() {
                found.text = Some(own);
            }
            if answer.is_some() || has_no_value(&candidate.what) {
                found.answer = answer;
                return found;
            }
        }
    }
    found
}

fn read(candidate: &Candidate<'_>, work: &Work) -> (Option<Answer>, String) {
    match candidate {
        Candidate::OpenBox(text) => {
            let latex = normalised(text, Boxes::Last);
            (latex_answer(&latex, work), latex)
        }
        Candidate::Latex(formulas) => {
            let mut answers = Vec::new();
            let mut texts = Vec::new();
            for formula in formulas {
                let latex = normalised(formula.content, Boxes::All);
                let answer = latex_answer(&latex, work);
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
        Candidate::Plain(text) if date(text) => (None, text.trim().to_owned()),
        Candidate::Row { text, percent: is_percent } => {
            let answer = parser::parse(text, work).filter(|answer| answer.as_expr().is_some());
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            (if *is_percent { answer.map(percent) } else { answer }, text)
        }
        Candidate::Plain(text) => (parser::parse(&text.replace(['\n', '\r'], " "), work), (*text).to_owned()),
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

/// Numerals side by side and dates have no value, and nothing that stands before them has it for them.
fn has_no_value(candidate: &Candidate<'_>) -> bool {
    match candidate {
        Candidate::Row { .. } => true,
        // What ends with an operator goes on in words: its numerals are tried by themselves.
        Candidate::Plain(text) => {
            date(text)
                || (text.trim_end().ends_with(|c: char| c.is_ascii_digit() || c == ')')
                    && PATTERNS.side_by_side.is_match(text))
        }
        _ => false,
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
fn latex_answer(latex: &str, work: &Work) -> Option<Answer> {
    parser::parse(latex, work).or_else(|| {
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
        parser::parse(&latex[*last..], work)
    })
}

fn boxes_and_hopes(text: &str, kinds: MathKinds) -> Vec<Placed<'_>> {
    let mut out = Vec::new();
    let mut gone = Gone::default();
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
        let candidates = [formula_group(text, at, kinds, &mut gone), plain_at(text, at.saturating_sub(1), kinds)];
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

fn formula_group<'t>(text: &'t str, at: usize, kinds: MathKinds, gone: &mut Gone) -> Option<Placed<'t>> {
    if kinds == MathKinds::Plain {
        return None;
    }
    let (end, all) = joined(text, at, gone)?;
    Some(Placed { start: at, end, what: Candidate::Latex(all) })
}

/// Where the fraction of a mixed number begins whose whole number is at `at`, `2\frac{1}{2}`; else `at`.
fn behind_whole(text: &str, at: usize) -> usize {
    let unsigned = text[at..].trim_start_matches('-');
    let fraction = unsigned.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(' ');
    if fraction.starts_with("\\frac") { text.len() - fraction.len() } else { at }
}

fn final_is(text: &str, kinds: MathKinds) -> Vec<Placed<'_>> {
    let mut out = Vec::new();
    let mut gone = Gone::default();
    for (start, end) in last_places(text, &PATTERNS.final_answer) {
        let Some(is) = PATTERNS.is.find(&text[end..]) else { continue };
        let at = end + is.end();
        let spaces = text[at..].len() - text[at..].trim_start().len();
        let formula = formula_group(text, behind_whole(text, at + spaces), kinds, &mut gone);
        for candidate in [formula, plain_at(text, at, kinds)].into_iter().flatten() {
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
    let mut gone = Gone::default();
    for (start, end) in last_places(text, &PATTERNS.answer) {
        let Some(after) = mark(&text[end..]) else { continue };
        let at = text.len() - after.len();
        let within = |count: usize| after.char_indices().take(count).map(|(offset, _)| at + offset);
        if let Some(candidate) = within(51).find_map(|at| formula_group(text, at, kinds, &mut gone)) {
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
            out.extend(number_candidate(text, &groups, 0));
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
    // Where the text begins, nothing need stand before it.
    if at > 0 && !window.starts_with(|c: char| c.is_whitespace() || c == '=') {
        return None;
    }
    if let Some(groups) = PATTERNS.plain_here.captures(window) {
        return plain_candidate(&groups, at);
    }
    number_candidate(window, &PATTERNS.number_here.captures(window)?, at)
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
    // Stars behind it are the end of bold type.
    let plain = expr.as_str().trim_end_matches('*');
    Some(Placed { start: offset + whole.start(), end: offset + whole.end(), what: Candidate::Plain(plain) })
}

fn number_candidate<'t>(text: &'t str, groups: &regex::Captures<'t>, offset: usize) -> Option<Placed<'t>> {
    let whole = groups.get(0)?;
    let part = |names: &[&str]| names.iter().find_map(|name| groups.name(name)).map_or("", |found| found.as_str());
    let percent = groups.name("percent").is_some();
    let placed = |what| Some(Placed { start: offset + whole.start(), end: offset + whole.end(), what });
    // The year of a date is not its value.
    let behind = &text[whole.end()..];
    if behind.starts_with(['-', '/']) {
        let start = text[..whole.end()].trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let run = text[start..].find(|c: char| !c.is_ascii_digit() && !matches!(c, '-' | '/'));
        let run = &text[start..run.map_or(text.len(), |length| start + length)];
        if date(run) {
            return placed(Candidate::Plain(run));
        }
    }
    if let Some(row) = groups.name("row") {
        return placed(Candidate::Row { text: row.as_str(), percent });
    }
    let integer = part(&["integer1", "integer2", "integer3"]).replace([',', ' '], "");
    let decimal = part(&["decimal1", "decimal2", "decimal3"]).replace(',', ".");
    let integer = if integer.is_empty() { "0" } else { &integer };
    placed(Candidate::Number { text: format!("{integer}{decimal}"), percent })
}
