//! Clocks, dates and other numbers with parts, which are no quotients and no differences.

use std::sync::LazyLock;

use regex::Regex;

struct Patterns {
    /// What may be a number with parts.
    run: Regex,
    command: Regex,
}

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(pattern).expect("the patterns are constants");
    let month = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?";
    let half = r"(?:\s*[ap]\.?\s?m\b\.?)";
    let day = r"\d{1,2}(?:st|nd|rd|th)?\b";
    let unit = r"(?:hours?|hrs?|h|minutes?|mins?|min|seconds?|secs?|sec|days?|feet|foot|ft|inch(?:es)?|in|lbs?|oz|cm|mm|km|kg|m|s|d|g|°|'|'')";
    let alternatives = [
        format!(r"\d+(?:[-/.:]\d+)+(?:t\d+(?::\d+)+(?:\.\d+)?z?|{half})?"),
        format!(r"\d{{1,2}}{half}"),
        format!(r"{day}\s*(?:of\s+)?{month}(?:,?\s*\d{{2,4}}\b)?"),
        format!(r"\b{month}\s*{day}(?:,?\s*\d{{2,4}}\b)?"),
        format!(r"\b{month}\s+\d{{4}}\b"),
        r"\d+'\s*\d{1,2}\b(?:''|\x22)?".to_owned(),
        format!(r"\d+(?:\.\d+)?\s*{unit}(?:,?\s*(?:and\s+)?\d+(?:\.\d+)?\s*{unit})+"),
    ];
    Patterns { run: regex(&format!("(?i-u){}", alternatives.join("|"))), command: regex(r"\\[A-Za-z]+\s*|\\.|~") }
});

/// A text with its numbers that have parts.
#[derive(Debug)]
pub(super) struct Parts {
    /// The marks of the whole text.
    whole: Vec<String>,
    /// The marks of each number with parts, in order.
    runs: Vec<Vec<String>>,
    /// Whether one of them is a clock or a date in numbers.
    clock_or_date: bool,
    /// Whether nothing but words and spaces stands around them.
    alone: bool,
    /// Whether not even words do.
    bare: bool,
}

impl Parts {
    fn of(text: &str) -> Self {
        let text = PATTERNS.command.replace_all(text, " ").replace(['{', '}', '$'], "").replace(['–', '—'], "-");
        let (mut runs, mut rest, mut end, mut clock_or_date) = (Vec::new(), String::new(), 0, false);
        for found in PATTERNS.run.find_iter(&text).filter(|found| whole(&text, found.start(), found.end())) {
            if has_parts(found.as_str()) {
                rest.push_str(&text[end..found.start()]);
                end = found.end();
                runs.push(marks(found.as_str()));
                clock_or_date |= found.as_str().contains(':') || date(found.as_str());
            }
        }
        rest.push_str(&text[end..]);
        let around = |c: char| c.is_alphabetic() || c.is_whitespace() || matches!(c, ',' | '.' | ';');
        let (alone, bare) = (rest.chars().all(around), !rest.contains(char::is_alphabetic));
        Self { whole: marks(&text), runs, clock_or_date, alone, bare }
    }
}

/// How many bytes a text that is compared as one has at most.
const MAX_BYTES: usize = 256;

/// The judgement where the reference is a number with parts, or the answer a clock or a date; else none.
pub(super) fn judged(gold: &str, answer: &str) -> Option<bool> {
    if let Some(gold) = plain_parts(gold) {
        let answer = Parts::of(answer);
        return Some(answer.whole == gold.whole || (gold.bare && answer.alone && answer.runs == gold.runs));
    }
    // A ratio is compared with a ratio.
    let ratio = gold.contains([':', '\\', '$']) && answer.contains(':');
    (!ratio && plain_parts(answer).is_some_and(|parts| parts.bare && parts.clock_or_date)).then_some(false)
}

/// The same for prose: the last numbers with parts of the answer, or of its last box, count.
pub(super) fn judged_in_prose(gold: &str, answer: &str) -> Option<bool> {
    let gold = plain_parts(gold)?;
    let answer = Parts::of(answer.rfind("\\boxed").map_or(answer, |at| &answer[at..]));
    let said = || gold.bare || answer.whole.windows(gold.whole.len()).any(|window| window == gold.whole);
    Some(answer.runs.ends_with(&gold.runs) && said())
}

/// The parts of a text that is not in LaTeX and holds nothing but them and words.
fn plain_parts(text: &str) -> Option<Parts> {
    let plain_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b' ' | b',');
    let could =
        text.len() <= MAX_BYTES && !text.bytes().all(plain_number) && text.contains(|c: char| c.is_ascii_digit());
    if !could || text.contains(['$', '\\']) {
        return None;
    }
    Some(Parts::of(text)).filter(|parts| parts.alone && !parts.runs.is_empty())
}

/// Whether this is all of the number: no digit, letter or mark belongs to it before or behind.
fn whole(text: &str, start: usize, end: usize) -> bool {
    let joins = |c: char| matches!(c, '-' | '/' | ':' | '.');
    let before = text[..start].chars().next_back().is_some_and(|c| joins(c) || c.is_alphanumeric());
    let mut after = text[end..].chars();
    let (next, further) = (after.next(), after.next());
    let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let unit = text[..end].ends_with(|c: char| !c.is_ascii_digit());
    let goes_on = letter(next) || (!unit && next.is_some_and(joins) && letter(further));
    !before && !goes_on
}

/// Whether digits with marks between them are a clock, a date or a number with parts, and no sum of one's own.
fn has_parts(run: &str) -> bool {
    let run = run.trim();
    if run.contains(|c: char| c.is_alphabetic() || matches!(c, '\'' | '"' | '°')) {
        return true;
    }
    let groups: Vec<&str> = run.split(|c: char| !c.is_ascii_digit()).collect();
    let marks: Vec<char> = run.chars().filter(|c| !c.is_ascii_digit()).collect();
    let Some((first, rest)) = marks.split_first() else { return false };
    let padded = groups.iter().any(|group| group.len() > 1 && group.starts_with('0'));
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    if rest.iter().any(|mark| mark != first) {
        // `10:30-11:30`, `10:30:05.5`; `1.5-0.5` is a difference.
        return run.split(['-', '/']).all(|piece| clock(piece.split('.').next().unwrap_or(piece)));
    }
    match first {
        ':' => clock(run),
        '/' => groups.len() > 2 || padded,
        '.' => groups.len() > 2,
        _ => {
            let year = |length: usize| length == 4;
            padded
                || matches!(lengths.as_slice(), [a, b] if year(*a) && year(*b))
                || matches!(groups.as_slice(), [a, b] if year(a.len()) && b.len() == 2 && matches!(b.parse(), Ok(1..=12)))
                || (groups.len() > 2 && lengths.iter().any(|length| *length >= 4))
        }
    }
}

/// Whether a year stands first or last of three numbers, or zeros fill them up.
pub(super) fn date(run: &str) -> bool {
    let run = run.trim();
    let mark = run.chars().find(|c| !c.is_ascii_digit());
    let Some(mark) = mark.filter(|mark| matches!(mark, '-' | '/')) else { return false };
    let groups: Vec<&str> = run.split(mark).collect();
    let digits = groups.iter().all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    let [first, middle, last] = groups.as_slice() else { return false };
    let short = |group: &str| group.len() <= 2;
    let year = (first.len() == 4 && short(last)) || (last.len() == 4 && short(first));
    let padded = groups.iter().any(|group| group.len() == 2 && group.starts_with('0'));
    digits && short(middle) && (year || (padded && short(first) && short(last)))
}

/// `7:32`, and any three parts.
fn clock(run: &str) -> bool {
    let groups: Vec<&str> = run.split(':').collect();
    match groups.as_slice() {
        [hours, minutes] => {
            hours.len() <= 2 && minutes.len() == 2 && minutes.parse().is_ok_and(|minutes: u8| minutes < 60)
        }
        more => more.len() > 2,
    }
}

/// Digits without their leading zeros, words in small letters, and each other mark; spaces, points and commas aside.
fn marks(text: &str) -> Vec<String> {
    let mut marks: Vec<String> = Vec::new();
    let mut before = ' ';
    for c in text.to_lowercase().chars() {
        let kind = |c: char| {
            if c.is_ascii_digit() {
                '0'
            } else if c.is_alphabetic() {
                'a'
            } else {
                c
            }
        };
        // `p.m.` is one word.
        if c == '.' && kind(before) == 'a' {
            continue;
        }
        if !c.is_whitespace() && !matches!(c, '.' | ',') {
            match marks.last_mut() {
                Some(last) if matches!(kind(c), '0' | 'a') && kind(before) == kind(c) => last.push(c),
                _ => marks.push(c.into()),
            }
        }
        before = c;
    }
    if let Some(at) = marks.windows(2).position(|pair| matches!(pair[0].as_str(), "a" | "p") && pair[1] == "m") {
        marks.remove(at + 1);
        marks[at].push('m');
    }
    for mark in &mut marks {
        let bare = mark.trim_start_matches('0');
        if bare.len() < mark.len() {
            *mark = if bare.is_empty() { "0".into() } else { bare.to_owned() };
        }
    }
    marks
}
