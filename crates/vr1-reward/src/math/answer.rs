//! A short answer without prose around it, such as the text of an answer tag, against the reference.

use super::equal::{Rules, same};
use super::expr::Answer;
use super::extract::{Found, MathKinds, find};
use super::normalise::{Boxes, normalised};
use super::numeric::Work;
use super::text::{Bare, MAX_BYTES};
use super::{MathConfig, STEPS, parser, parts, recent, signs, verify};

/// Whether a short answer without prose around it is the reference.
///
/// Numbers with parts, words and codes are compared as texts. What is not in a formula is read as one; where it cannot
/// be, or where it holds words and the reference is a formula, as prose.
#[must_use]
pub fn answer_equal(gold: &str, answer: &str) -> bool {
    let work = &Work::new(STEPS);
    let equal =
        |gold: &Answer, answer: &Answer| same(gold, answer, Rules { decimals: 6, relation_for_set: false }, work);
    // Plain numbers are the most of all, and hold nothing that the rest looks for.
    if is_plain_number(gold)
        && is_plain_number(answer)
        && let (Some(gold), Some(answer)) = (parser::parse(gold, work), parser::parse(answer, work))
    {
        return equal(&gold, &answer);
    }
    let (gold, answer) = (signs::plain(recent(gold)), signs::plain(recent(answer)));
    if let Some(judgement) = parts::judged(&gold, &answer) {
        return judgement;
    }
    let (g, a) = (Bare::of(&gold), Bare::of(&answer));
    if g.is_word() && a.is_word() {
        return words(&g.text) == words(&a.text);
    }
    let judged = |gold: &Found, answer: &Found| verify(gold, answer, MathConfig::default(), work);
    if g.is_text() {
        // A sentence that no formula can be states its number, as in prose.
        let sentence = || !a.is_text() && !a.holds_words() && whole(&gold, work).is_none();
        let stated = || judged(&find(&gold, MathKinds::Both, work), &read(&answer, &a, work));
        return g.same_text(&a) || (sentence() && stated());
    }
    let gold = read(&gold, &g, work);
    if gold.answer.is_some() && (a.amount().is_some() || a.holds_words()) {
        // `ab+cd` is a formula, too, and `$Even$` the word.
        let same = if a.is_text() { g.same_text(&a) } else { judged(&gold, &read(&answer, &a, work)) };
        let prose = if a.opened { &a.text } else { &answer };
        let stated = || match a.amount() {
            Some(amount) => Found { answer: whole(amount, work), ..Found::default() },
            None => find(prose, MathKinds::Both, work),
        };
        return same || judged(&gold, &stated());
    }
    if a.is_text() {
        return g.same_text(&a);
    }
    let answer = read(&answer, &a, work);
    match (&gold, &answer) {
        (Found { answer: Some(gold), whole: true, .. }, Found { answer: Some(answer), whole: true, .. }) => {
            equal(gold, answer)
        }
        _ => judged(&gold, &answer),
    }
}

/// Digits with at most one point between them and a sign before them.
fn is_plain_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= MAX_BYTES && all_digits(whole) && all_digits(fraction)
}

/// The text read as a formula; where that cannot be, what is found in it.
fn read(text: &str, bare: &Bare<'_>, work: &Work) -> Found {
    let text = if bare.opened && !text.contains("\\boxed") { &bare.text } else { text };
    match whole(text, work) {
        Some(answer) => Found { answer: Some(answer), text: Some(text.to_owned()), whole: true },
        None => find(text, MathKinds::Both, work),
    }
}

fn whole(text: &str, work: &Work) -> Option<Answer> {
    if text.len() > MAX_BYTES || text.contains(['$', '\n']) || text.contains("\\boxed") || text.contains("\\(") {
        return None;
    }
    parser::parse(&normalised(text, Boxes::All), work)
}

fn words(text: &str) -> Vec<String> {
    let plain = text.to_lowercase().replace(['(', ')', '.'], " ");
    plain.split_whitespace().map(str::to_owned).collect()
}
