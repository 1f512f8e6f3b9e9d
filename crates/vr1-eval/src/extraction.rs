//! What a completion gives as its answer.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};
use vr1_reward::last_tagged;

/// How an answer is found in a completion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extraction {
    /// The last `<answer>`; else, behind the last thought, the latest phrase such as "the answer is" or the latest
    /// `\boxed{}` that can be read; else what the text settles on.
    #[default]
    Robust,
    /// As the benchmark's own program reads it.
    Published,
}

/// Where an answer stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum How {
    /// In the last `<answer>`.
    Tag,
    /// In a `\boxed{}`.
    Boxed,
    /// Behind "the answer is" or its like.
    Phrase,
    /// Anywhere in the text.
    Text,
    /// Where the benchmark's own rule looks.
    Published,
    /// Where a reward program looks.
    Program,
    /// Where a judge found it.
    Judge,
}

static PHRASE: LazyLock<Regex> = LazyLock::new(|| {
    let lead = r"(?i)(?:\banswers?\b|\boption\b|\bchoice\b|答案|选项|選項)";
    let link = r"(?:[^\S\n]*(?:\*\*)?[:：=]|[^\S\n]+(?:to[^\S\n][^\n.:]{1,40}?[^\S\n])?(?:is|are|was|should be|would be|must be)\b[^\S\n]*[:：]?|[^\S\n]*(?:应该|應該)?(?:是|为|為|选|選)[:：]?)";
    Regex::new(&format!(r"{lead}{link}[^\S\n]*([^\n]+)")).expect("the pattern is a constant")
});

/// The places where a completion may say its answer, the most telling first.
pub(crate) fn places(completion: &str) -> Vec<(How, &str)> {
    if let Some(tagged) = last_tagged(completion, "answer") {
        // A tag is the answer, whatever it says.
        let inner = boxes(tagged).last().map_or(tagged, |(_, inside)| inside);
        return vec![(How::Tag, inner.trim())];
    }
    let text = behind_thought(completion);
    let phrases = PHRASE.captures_iter(text).filter_map(|groups| groups.get(1));
    let mut found: Vec<(usize, How, &str)> =
        phrases.map(|said| (said.start(), How::Phrase, sentence(said.as_str()))).collect();
    found.extend(boxes(text).into_iter().map(|(at, inside)| (at, How::Boxed, inside.trim())));
    // The latest first; of a box behind a phrase the box.
    found.sort_by_key(|(at, how, _)| (std::cmp::Reverse(*at), *how != How::Boxed));
    let mut places: Vec<(How, &str)> = found.into_iter().map(|(_, how, said)| (how, said)).collect();
    places.push((How::Text, text));
    places
}

/// What is said behind the last thought, where anything is.
fn behind_thought(text: &str) -> &str {
    let behind = text.rsplit_once("</think>").map(|(_, behind)| behind.trim());
    behind.filter(|behind| !behind.is_empty()).unwrap_or(text).trim()
}

/// The first sentence: up to a full stop before white space or the end.
fn sentence(text: &str) -> &str {
    let stops = text.match_indices(['.', '。', '!', '！']).map(|(at, mark)| (at, at + mark.len()));
    let end = |(at, after): &(usize, usize)| {
        let rest = &text[*after..];
        // `A. left` is one: a letter before the stop is an option's.
        let short = text[..*at].trim_matches(|c: char| !c.is_alphanumeric()).chars().count() <= 1;
        rest.trim_start_matches(['*', '$', '"', ')']).is_empty() || (rest.starts_with(char::is_whitespace) && !short)
    };
    stops.into_iter().find(end).map_or(text, |(at, _)| &text[..at]).trim().trim_end_matches('*').trim()
}

/// What stands in each `\boxed{…}`, with where it begins.
fn boxes(text: &str) -> Vec<(usize, &str)> {
    let opened = text.match_indices("boxed{").map(|(at, open)| at + open.len());
    opened.filter_map(|start| Some((start, &text[start..start + closing(&text[start..])?]))).collect()
}

/// Where the brace closes that is open at the beginning.
pub(crate) fn closing(text: &str) -> Option<usize> {
    let mut depth = 1_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}
