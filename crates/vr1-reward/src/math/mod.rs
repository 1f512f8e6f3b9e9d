//! Mathematical answers: found in a text, read, and compared, as Math-Verify 0.9 does.

mod answer;
mod commands;
mod equal;
mod exact;
mod expr;
mod extract;
mod formulas;
mod lexer;
mod line;
mod matrix;
mod modular;
mod names;
mod normalise;
mod numeral;
mod numeric;
mod parser;
mod parts;
mod precise;
mod primary;
mod sets;
mod signs;
mod terms;
mod text;
mod values;

pub use answer::answer_equal;
use equal::{Rules, same};
pub use extract::MathKinds;
use extract::{Found, find};
use numeric::Work;
use text::Bare;

/// How [`math_equal`] finds and compares answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MathConfig {
    /// What may be an answer in the reference.
    pub gold: MathKinds,
    /// What may be an answer in the completion.
    pub answer: MathKinds,
    /// Decimal places that must agree where one side is written as a decimal.
    pub decimals: u32,
    /// How a set and a relation compare.
    pub sets: SetRule,
}

/// Whether `1 < x < 2` is the interval (1, 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SetRule {
    /// Where the reference is the relation and the answer the set.
    #[default]
    AnswerMayBeSet,
    /// The other way round too.
    EitherMayBeSet,
}

impl Default for MathConfig {
    /// Six decimal places.
    fn default() -> Self {
        Self { gold: MathKinds::Both, answer: MathKinds::Both, decimals: 6, sets: SetRule::default() }
    }
}

/// The steps one comparison may take.
const STEPS: u64 = 20_000;

/// Whether the answer a text gives is mathematically the reference.
///
/// Both texts may hold prose: the answer is what stands in the last box, after "the final answer is", or the last
/// formula or number. Two numbers are compared exactly, unless one is written as a decimal; expressions that are
/// rational functions modulo a prime (exactly, but for a chance of one in 10¹⁸), all others at nine points to ten digits.
/// Signs of Unicode are what they stand for, numerals side by side are never multiplied, and a reference that is a clock or a
/// date without LaTeX is looked for as a text.
/// The reference and the answer do not play the same part: `x = 3` answers `3`, and `2x + z = 1` is not answered by `1`.
///
/// # Example
/// ```
/// use vr1_reward::{math_equal, MathConfig};
/// let same = |gold, answer| math_equal(gold, answer, MathConfig::default());
/// assert!(same(r"$\frac{1}{2}$", "so it is 0.5"));
/// assert!(same("7425000", "That makes 7,425,000 in all."));
/// assert!(same(r"$x^2/4 + y^2/3 = 1$", r"$x^2/16 + y^2/12 = 1/4$"));
/// assert!(same(r"$\{1, 2\}$", r"\boxed{2} and \boxed{1}"));
/// assert!(same("5/2", "It takes 2½ hours."));
/// assert!(!same("6", "2 3"));
/// assert!(!same("$4$", r"$4\sqrt{2}$"));
/// ```
#[must_use]
pub fn math_equal(gold: &str, answer: &str, config: MathConfig) -> bool {
    let (gold, answer) = (signs::plain(recent(gold)), signs::plain(recent(answer)));
    if let Some(judgement) = parts::judged_in_prose(&gold, &answer) {
        return judgement;
    }
    let boxed = answer.rfind("\\boxed").map(|at| Bare::of(&answer[at..]));
    if let Some(boxed) = &boxed
        && let bare = Bare::of(&gold)
        && bare.is_code()
    {
        return bare.same_text(boxed);
    }
    let work = Work::new(STEPS);
    let (reference, found) = (find(&gold, config.gold, &work), find(&answer, config.answer, &work));
    if verify(&reference, &found, config, &work) {
        return true;
    }
    // Words in a box are read for their number, as they are where they are all of the answer.
    let Some(words) = boxed.filter(|words| words.holds_words() && reference.answer.is_some()) else { return false };
    !Bare::of(&gold).is_text() && verify(&reference, &find(&words.text, MathKinds::Both, &work), config, &work)
}

/// More text than this before the end is not looked at.
const MAX_BYTES: usize = 64 * 1024;

/// The end of a text, where the answer stands.
fn recent(text: &str) -> &str {
    let mut from = text.len().saturating_sub(MAX_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

fn verify(gold: &Found, answer: &Found, config: MathConfig, work: &Work) -> bool {
    let text = |found: &Found| found.text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    if let (Some(a), Some(b)) = (text(gold), text(answer))
        && a == b
    {
        return true;
    }
    let rules = Rules { decimals: config.decimals, relation_for_set: config.sets == SetRule::EitherMayBeSet };
    match (&gold.answer, &answer.answer) {
        (Some(gold), Some(answer)) => same(gold, answer, rules, work),
        _ => false,
    }
}
