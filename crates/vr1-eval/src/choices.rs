//! Options as benchmarks write them.

use std::sync::LazyLock;

use regex::Regex;

use crate::gold::letter;

static MARKED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:^|[\s(,;])([A-H])(?:\)|[.:：、])\s*").expect("the pattern is a constant"));

/// The options that stand in a text as `A. …`, `(A) …`, `A: …`, in the order of their letters; none where there are not
/// two.
pub(crate) fn options_in(text: &str) -> Vec<String> {
    // From the last A on: an earlier one may be part of the question.
    let marks: Vec<(usize, usize, char)> = MARKED
        .captures_iter(text)
        .filter_map(|found| {
            let (whole, mark) = (found.get(0)?, found.get(1)?);
            Some((whole.start(), whole.end(), mark.as_str().chars().next()?))
        })
        .collect();
    let Some(first) = marks.iter().rposition(|(_, _, mark)| *mark == 'A') else { return Vec::new() };
    let mut kept: Vec<(usize, usize)> = Vec::new();
    for (start, end, mark) in &marks[first..] {
        if *mark == letter(kept.len()) {
            kept.push((*start, *end));
        }
    }
    let ends = kept.iter().skip(1).map(|(start, _)| *start).chain([text.len()]);
    let texts = kept.iter().zip(ends).map(|((_, from), to)| {
        let option = text[*from..to.max(*from)].trim();
        option.trim_end_matches(|c: char| ",;".contains(c)).trim().to_owned()
    });
    let texts: Vec<String> = texts.collect();
    if texts.len() < 2 { Vec::new() } else { texts }
}

/// Options one a line, each behind its letter between `open` and `close`.
pub(crate) fn listed(options: &[String], open: &str, close: &str) -> String {
    let line = |(at, option): (usize, &String)| format!("{open}{}{close} {option}", letter(at));
    options.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// The number of the option whose letter an answer is, as `B`, `(B)` or `B.`, where there are so many.
pub(crate) fn numbered(answer: &str, options: usize) -> Option<usize> {
    let mut letters = answer.trim().trim_matches(|c: char| "().:[]".contains(c)).chars();
    let (first, more) = (letters.next()?, letters.next());
    let at = (first.to_ascii_uppercase() as usize).checked_sub('A' as usize)?;
    (more.is_none() && first.is_ascii_alphabetic() && at < options).then_some(at)
}
