//! The option of a multiple choice that a text settles on.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::latin::is_latin;
use super::signs::plain;

static PATTERNS: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
    [
        // `**B**` is a letter between marks; other emphasis is nothing.
        (r"[*_`~]+([A-Za-z])[*_`~]+", "\"$1\""),
        (r"[*`]+", ""),
        // `\boxed{\text{B}}`; the braces stay.
        (r"\\(?:[A-Za-z]+\s*\{|[()\[\]])", "{"),
    ]
    .map(|(pattern, instead)| (Regex::new(pattern).expect("the pattern is a constant"), instead))
});
/// Tags of HTML, as in `<b>B</b>`.
static TAG: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("</?[A-Za-z][A-Za-z0-9]*>").expect("the pattern is a constant"));
/// What leads to an answer and is none of it.
static LEAD: LazyLock<Regex> = LazyLock::new(|| {
    let words = r"(?i)^\W*(?:(?:the|my|so|final|correct|right|best)\s+)*(?:answer|option|choice|答案|正确答案|选项|选择|选|應選)\b?";
    Regex::new(&format!(r"{words}(?:\s+is\b|是|为|為|选|項|项)?\s*[:=]?\s*")).expect("the pattern is a constant")
});

/// What may follow an option A, and does not follow an article.
const NO_NOUN: &str = "is was or and nor because since as by due for from if in on at of to with without but not so that which \
                       where when while it its the this there you we they seems should would will could can cannot must may \
                       might has have had does did than then over instead rather only alone here too also shows matches fits \
                       looks appears contains describes represents follows completes works makes";
/// What stands between the options of a list, marks aside.
const JOINING: &[&str] = &["or", "and", "nor", "also", "或者", "或", "和", "与", "及", "跟"];

/// The option a text settles on: the letter it is, the marked letter it begins with, or the only one it names; `None`
/// where it names none or several. A small letter counts behind or before a mark alone, and an article is no option. Letters
/// up to `last` count where nothing marks them.
#[must_use]
pub fn option_in(text: &str, last: char) -> Option<char> {
    let text = simple(text);
    let text = text.trim();
    let text = match LEAD.find(text) {
        Some(lead) if lead.end() < text.len() => &text[lead.end()..],
        _ => text,
    };
    let chars: Vec<char> = text.chars().collect();
    if let Some(only) = single(&chars) {
        return Some(only);
    }
    let first = chars.iter().position(|c| c.is_alphanumeric());
    if let Some(first) = first.filter(|first| is_letter(&chars, *first) && begins(&chars, *first)) {
        return (!is_list(&chars, first)).then(|| chars[first].to_ascii_uppercase());
    }
    let named = (0..chars.len()).filter(|at| names(&chars, *at)).map(|at| chars[at].to_ascii_uppercase());
    let mut named = named.filter(|letter| *letter <= last);
    let first = named.next()?;
    named.all(|other| other == first).then_some(first)
}

/// The text without what dresses letters up.
fn simple(text: &str) -> Cow<'_, str> {
    let mut text = plain(text);
    if text.contains("</") {
        text = Cow::Owned(TAG.replace_all(&text, " ").into_owned());
    }
    for (pattern, instead) in PATTERNS.iter() {
        if let Cow::Owned(changed) = pattern.replace_all(&text, *instead) {
            text = Cow::Owned(changed);
        }
    }
    text
}

/// The only letter or digit of the text, where it is a Latin letter.
fn single(chars: &[char]) -> Option<char> {
    let mut found = chars.iter().filter(|c| c.is_alphanumeric());
    match (found.next(), found.next()) {
        (Some(only), None) if only.is_ascii_alphabetic() => Some(only.to_ascii_uppercase()),
        _ => None,
    }
}

fn before(chars: &[char], at: usize) -> Option<char> {
    at.checked_sub(1).map(|at| chars[at])
}

/// Whether a letter stands by itself: no Latin letter or digit beside it, not even behind a hyphen or an apostrophe, and
/// no abbreviation as in `e.g.`
fn is_letter(chars: &[char], at: usize) -> bool {
    let latin = |at: Option<usize>| at.and_then(|at| chars.get(at)).copied().is_some_and(is_latin);
    let (left, right) = (before(chars, at), chars.get(at + 1).copied());
    let joins = |c: Option<char>| matches!(c, Some('-' | '\''));
    let apart =
        |beside: Option<char>, beyond: Option<usize>| !(beside.is_some_and(is_latin) || joins(beside) && latin(beyond));
    let single = |at: Option<usize>| {
        latin(at) && !latin(at.and_then(|at| at.checked_add(1))) && !latin(at.and_then(|at| at.checked_sub(1)))
    };
    let dotted = right == Some('.')
        && (single(Some(at + 2)) && chars.get(at + 3) == Some(&'.') || left == Some('.') && single(at.checked_sub(2)));
    chars[at].is_ascii_alphabetic() && apart(left, at.checked_sub(2)) && apart(right, Some(at + 2)) && !dotted
}

/// Whether the word behind `at` makes an `A` there an article.
fn is_article(chars: &[char], at: usize) -> bool {
    if !matches!(chars[at], 'a' | 'A') || !matches!(chars.get(at + 1), Some(' ' | '\t')) {
        return false;
    }
    let rest = chars[at + 1..].iter().skip_while(|c| matches!(c, ' ' | '\t'));
    let word: String = rest.take_while(|c| is_latin(**c)).flat_map(|c| c.to_lowercase()).collect();
    word.chars().nth(1).is_some() && !NO_NOUN.split(' ').any(|known| known == word)
}

fn closes(mark: char) -> bool {
    matches!(mark, ')' | ']' | '}' | '"' | '\'' | '$' | '>' | '】' | '》' | '〉' | '〕')
}

fn opens(mark: char) -> bool {
    matches!(mark, '(' | '[' | '{' | '"' | '\'' | '$' | '<' | '【' | '《' | '〈' | '〔')
}

/// Whether the mark behind the letter at `at` is one that a list of options puts there.
fn marked_behind(chars: &[char], at: usize) -> bool {
    match chars.get(at + 1).copied() {
        Some(':' | '、' | '\n') => true,
        // `b.left`, but not `e.g`.
        Some('.' | '。') => {
            chars[at].is_ascii_uppercase() || !chars.get(at + 2).copied().is_some_and(is_latin) || at == 0
        }
        Some(' ') => matches!(chars.get(at + 2..), Some(['-' | '–' | '—' | ':' | ')' | '.', ' ', ..])),
        Some('–' | '—') => true,
        Some(mark) => closes(mark),
        None => false,
    }
}

/// Whether the letter that a text begins with is its option: it has a mark.
fn begins(chars: &[char], at: usize) -> bool {
    let small = chars[at].is_ascii_lowercase();
    marked_behind(chars, at) || small && matches!(chars.get(at + 1), Some(',' | ';'))
}

/// The text from the first word on that joins no options, and whether one did.
fn behind_joining(text: &str) -> (&str, bool) {
    let (mut rest, mut joined) = (text, false);
    loop {
        rest = rest.trim_start_matches(|c: char| !c.is_alphanumeric());
        let behind = |word: &&str| {
            let (start, after) = rest.split_at_checked(word.len())?;
            let whole = !word.is_ascii() || !after.starts_with(is_latin);
            (whole && start.eq_ignore_ascii_case(word)).then_some(after)
        };
        match JOINING.iter().find_map(behind) {
            Some(after) => (rest, joined) = (after, true),
            None => return (rest, joined),
        }
    }
}

/// Whether more options follow the one at `at`, as in `A. B.`, `(A) or (B)` and `A) left B) right`.
fn is_list(chars: &[char], at: usize) -> bool {
    let option = chars[at].to_ascii_uppercase();
    let letter = |at: usize| {
        let letter = chars[at].to_ascii_uppercase();
        let known = letter != option && letter <= option.max('H') && is_letter(chars, at) && !is_article(chars, at);
        known.then_some(letter)
    };
    let rest: String = chars[at + 1..].iter().collect();
    let (words, joined) = behind_joining(&rest);
    let next = chars.len() - words.chars().count();
    if next < chars.len() && letter(next).is_some() {
        let apart = matches!(chars.get(at + 1), Some(',' | ';' | '、'));
        let alone = chars[next + 1..].iter().all(|c| !c.is_alphanumeric());
        if joined || apart || alone || marked_behind(chars, next) {
            return true;
        }
    }
    // The next letter of the alphabet, marked in the same way and with a text of its own.
    let dress = |at: usize| (before(chars, at).filter(|c| opens(*c)), chars.get(at + 1).copied());
    let marked = |other: usize| dress(other) == dress(at) && chars[other + 1..].iter().any(|c| c.is_alphanumeric());
    (at + 1..chars.len()).any(|other| marked(other) && letter(other) == char::from_u32(u32::from(option) + 1))
}

/// Whether a small letter has a mark beside it.
fn named_small(chars: &[char], at: usize) -> bool {
    let foreign = |c: char| c.is_alphabetic() && !is_latin(c);
    let behind_colon = chars[..at].iter().rev().find(|c| **c != ' ').is_some_and(|c| *c == ':');
    let left = before(chars, at).is_some_and(|c| opens(c) || foreign(c)) || behind_colon;
    left || marked_behind(chars, at) || chars.get(at + 1).copied().is_some_and(foreign)
}

/// Whether a letter that the text does not begin with names an option.
fn names(chars: &[char], at: usize) -> bool {
    if !chars[at].is_ascii_alphabetic() || !is_letter(chars, at) || is_article(chars, at) {
        return false;
    }
    match chars[at] {
        'I' => named_small(chars, at),
        letter => letter.is_ascii_uppercase() || named_small(chars, at),
    }
}
