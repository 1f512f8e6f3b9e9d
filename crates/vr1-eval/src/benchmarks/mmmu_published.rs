//! How MMMU's own program reads answers. Where it finds no option it guesses; here that is wrong.

use std::sync::LazyLock;

use regex::Regex;

use crate::Gold;
use crate::extraction::How;
use crate::gold::{ToPixels, letter};
use crate::item::Item;
use crate::mark::Mark;

/// MMMU's rules: of options the last that is named in brackets, else the last letter that stands alone, else, in more than
/// five words, the last option whose words there are; of open answers any key phrase or number in it.
pub(super) fn published(item: &Item, completion: &str, _: ToPixels) -> Mark {
    match &item.gold {
        Gold::Option { right, options } => match option(completion, options) {
            Some(found) => Mark::of(letter(found).to_string(), found == *right).by(How::Published),
            None => Mark::unread(&["accuracy"]),
        },
        Gold::Words(answers) => {
            let said = phrases(completion);
            let right =
                answers.iter().flat_map(|answer| normal(answer)).any(|gold| said.iter().any(|s| matches(s, &gold)));
            Mark { answer: None, ..Mark::of(String::new(), right) }.by(How::Published)
        }
        _ => Mark::default(),
    }
}

fn option(response: &str, options: &[String]) -> Option<usize> {
    let mut response = response;
    for mark in [',', '.', '!', '?', ';', ':', '\''] {
        response = response.trim_matches(mark);
    }
    let response = format!(" {response} ");
    let latest = |form: &dyn Fn(usize) -> String, text: &str| {
        let places = (0..options.len()).filter_map(|at| Some((text.rfind(&form(at))?, at)));
        // Of equal places the first option's, as NumPy's maximum is.
        places.rev().max_by_key(|(place, _)| *place).map(|(_, at)| at)
    };
    let lower = response.to_lowercase();
    latest(&|at| format!("({})", letter(at)), &response)
        .or_else(|| latest(&|at| format!(" {} ", letter(at)), &response))
        .or_else(|| {
            let long = response.split_whitespace().count() > 5;
            long.then(|| latest(&|at| options[at].to_lowercase(), &lower)).flatten()
        })
}

/// A text as it is compared: a number to two places, or words.
#[derive(Debug, Clone, PartialEq)]
enum Normal {
    Number(f64),
    Text(String),
}

fn normal(text: &str) -> Vec<Normal> {
    let text = text.trim();
    if let Ok(number) = text.replace(',', "").parse::<f64>() {
        return vec![Normal::Number((number * 100.0).round_ties_even() / 100.0)];
    }
    let lower = text.to_lowercase();
    match lower.chars().count() {
        // A letter alone would be found in every word.
        1 => vec![Normal::Text(format!(" {lower}")), Normal::Text(format!("{lower} "))],
        _ => vec![Normal::Text(lower)],
    }
}

fn matches(said: &Normal, gold: &Normal) -> bool {
    match (said, gold) {
        (Normal::Text(said), Normal::Text(gold)) => said.contains(gold.as_str()),
        (said, gold) => said == gold,
    }
}

static NUMBERS: LazyLock<[Regex; 3]> = LazyLock::new(|| {
    [
        r"-?\b[0-9]{1,3}(?:,[0-9]{3})+\b",
        r"-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]+",
        r"-?(?:[0-9]+\.[0-9]+|\.[0-9]+|[0-9]+\b)",
    ]
    .map(|pattern| Regex::new(pattern).expect("the pattern is a constant"))
});

/// The ends of the sentences and lines that begin to say an answer, and the numbers in them; all of the response where none
/// does.
fn phrases(response: &str) -> Vec<Normal> {
    let lower = response.trim().trim_matches('.').to_lowercase();
    // All is in small letters by now, so that lines alone divide, as in the authors' program.
    let lines: Vec<&str> = lower.split('\n').collect();
    let indicators = ["could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result "];
    let mut keys: Vec<String> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let more = if at + 1 == lines.len() { &["="][..] } else { &[] };
        let ends = indicators.iter().chain(more).filter(|indicator| line.contains(**indicator));
        let ends = ends.filter_map(|indicator| line.rsplit(*indicator).next().map(str::trim));
        // An empty one gives way to whichever follows.
        let shorter = |a: &str, b: &str| a.is_empty() || b.chars().count() < a.chars().count();
        if let Some(shortest) = ends.reduce(|a, b| if shorter(a, b) { b } else { a })
            && !shortest.is_empty()
            && ![":", ",", ".", "!", "?", ";", "'"].contains(&shortest)
        {
            keys.push(shortest.to_owned());
        }
    }
    if keys.is_empty() {
        keys.push(lower.clone());
    }
    let numbers: Vec<String> = keys.iter().flat_map(|key| numbers(key)).collect();
    keys.iter().chain(&numbers).flat_map(|text| normal(text)).collect()
}

fn numbers(text: &str) -> Vec<String> {
    let [commas, scientific, simple] = &*NUMBERS;
    let whole = commas.find_iter(text).chain(scientific.find_iter(text));
    let plain = simple.find_iter(text).filter(|found| {
        // One that goes on as a power or behind a comma is found by the others.
        let rest = &text[found.end()..];
        let exponent = Regex::is_match(scientific, &text[found.start()..]) && rest.starts_with(['e', 'E']);
        !exponent && !rest.starts_with(|c: char| c == ',' || c.is_ascii_digit())
    });
    whole.chain(plain).map(|found| found.as_str().to_owned()).collect()
}
