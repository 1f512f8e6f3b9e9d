use std::sync::LazyLock;

use regex::Regex;

use super::{reference, score};
use crate::reading::option_in;
use crate::{Param, Registry, Signature, Type};

static STATED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)Answer:\s*([A-Z])").expect("the pattern is a constant"));
static STANDALONE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(^|\s|\[|\()([A-H])(\s|\]|\)|$)").expect("the pattern is a constant"));

const KEYWORDS: [&str; 16] = [
    "答案", "选择", "正确", "是", "对", "ANSWER", "CORRECT", "CHOOSE", "SELECT", "RIGHT", "认为", "应该", "觉得",
    "THINK", "BELIEVE", "SHOULD",
];

/// VisualThinker: the last standalone letter A–H.
fn last_standalone(text: &str) -> Option<char> {
    STANDALONE.captures_iter(text).filter_map(|groups| groups[2].chars().next()).last()
}

/// VLM-R1's and R1-Onevision's heuristic: every letter that could be an option is scored by the words around it.
fn by_keywords(text: &str, last: char, before_mark: Following) -> Option<char> {
    let upper = text.to_uppercase();
    let joined: Vec<&str> = upper.split_whitespace().collect();
    let text: Vec<char> = joined.join(" ").chars().collect();
    let latin = |c: Option<&char>| c.is_some_and(char::is_ascii_uppercase);
    let mut letters: Vec<char> = Vec::new();
    let mut hits = 0;
    for (at, c) in text.iter().enumerate() {
        let follows = match (before_mark, text.get(at + 1)) {
            (Following::Mark, next) => next.is_none_or(|next| ".,?!:;".contains(*next)),
            (Following::NoLetter, next) => !latin(next),
        };
        if ('A'..=last).contains(c) && follows && (at == 0 || !latin(text.get(at - 1))) {
            hits += 1;
            if !letters.contains(c) {
                letters.push(*c);
            }
        }
    }
    if hits <= 1 {
        return letters.first().copied();
    }
    let rate = |letter: char| {
        let at = text.iter().position(|c| *c == letter).unwrap_or(0);
        let around: String = text[at.saturating_sub(20)..text.len().min(at + 20)].iter().collect();
        let words = KEYWORDS.iter().filter(|word| around.contains(**word)).count();
        let late = if at as f64 > text.len() as f64 * 0.7 { 2 } else { 0 };
        let marked = text.get(at + 1).is_some_and(|next| "。.!！,，".contains(*next));
        words + late + usize::from(marked)
    };
    // The first of equals wins.
    letters.iter().copied().rev().max_by_key(|letter| rate(*letter))
}

/// R1-Onevision's reference: the letter after `Answer:`, or the only one there is.
fn stated(solution: &str) -> Option<char> {
    if let Some(groups) = STATED.captures(solution) {
        return groups[1].chars().next().map(|letter| letter.to_ascii_uppercase());
    }
    solution.chars().next().filter(|_| solution.chars().count() == 1)
}

#[derive(Clone, Copy)]
enum Following {
    Mark,
    NoLetter,
}

pub(super) fn register(registry: &mut Registry) {
    let signature = Signature::new(
        "1 where answer and solution name the same option: the letter they are, the marked letter they begin with, or the \
         only one in them; what names two names none. `compat` is a \
         system's own rule: the last standalone letter (visualthinker) or the letter with the best words around it.",
        vec![
            Param::answer("answer", Type::Text),
            Param::required("solution", Type::Text),
            Param::choice("compat", &["none", "visualthinker", "vlm_r1", "r1_onevision"]),
        ],
    );
    registry.register_typed("choice", signature, |args| {
        let (answer, gold) = (args.text(0)?, reference(args.text(1)?));
        args.budget().spend_bytes(4 * (answer.len() + gold.len()), "choice")?;
        let (answer, gold) = match args.text(2)? {
            "visualthinker" => {
                let only = gold.chars().next().filter(|_| gold.chars().count() == 1);
                (last_standalone(answer), only)
            }
            "vlm_r1" => (by_keywords(answer, 'Z', Following::Mark), by_keywords(gold, 'Z', Following::Mark)),
            "r1_onevision" => (by_keywords(answer, 'D', Following::NoLetter), stated(gold)),
            _ => {
                // Whatever letter the solution is, an answer can say it.
                let gold = option_in(gold, 'Z');
                (option_in(answer, gold.unwrap_or('H').max('H')), gold)
            }
        };
        Ok(score(answer.is_some() && answer == gold))
    });
}
