//! A sum or a difference of two small numbers, with nothing to look at.

use rand::RngExt;

use super::Split;
use super::chance::{Stream, chance};
use super::posed::{Posed, fill};

/// `{a}` is the sum.
const ASK: (&[&str], &[&str]) = (&["What is {a}?"], &["Find {a}.", "Tell me what {a} is."]);

/// A sum; out of domain one of its numbers is from 10 to 12. Of the others every fifth is held out from training.
pub(crate) fn pose(rng: &mut Stream, split: Split) -> Posed {
    let is_other = split == Split::OutOfDomain || (split == Split::Pretrain && chance(rng, 0.25));
    let plus = chance(rng, 0.5);
    let (a, b) = loop {
        let most = if is_other { 12 } else { 9 };
        let (a, b): (u32, u32) = (rng.random_range(0..=most), rng.random_range(0..=most));
        let fits = match split {
            Split::Train => !is_held_out(a, b),
            Split::InDomain => is_held_out(a, b),
            _ => true,
        };
        if fits && is_other == (a.max(b) > 9) && (plus || a >= b) {
            break (a, b);
        }
    };
    let sum = if plus { format!("{a} + {b}") } else { format!("{a} - {b}") };
    let solution = if plus { a + b } else { a - b };
    let guess = rng.random_range(0..=if plus { 2 * a.max(b) } else { a }).to_string();
    let stem = fill(split.phrase(rng, ASK), &sum, "");
    Posed {
        kind: if plus { "plus" } else { "minus" },
        question: stem.clone(),
        stem,
        solution: solution.to_string(),
        plan: "I will work it out.".to_owned(),
        thought: format!("{sum} = {solution}."),
        guess_thought: format!("It looks like {guess}."),
        guess,
        ..Posed::default()
    }
}

fn is_held_out(a: u32, b: u32) -> bool {
    (a + 2 * b).is_multiple_of(5)
}
