//! A question answered in four turns, as LLaVA-CoT stages it and LlamaV-o1 asks for it.

use rand::RngExt;

use super::Split;
use super::chance::Stream;
use super::posed::Posed;
use super::scene::Canvas;
use super::{attributes, counting, spatial};
use crate::Turn;
use crate::sample::STAGES;

/// LlamaV-o1's inference prompts, stage by stage; the first is appended to the question.
const PROMPTS: [&str; STAGES.len()] = [
    "\nSummarize how you will approach the problem and explain the steps you will take to reach the answer.",
    "Provide a detailed description of the image, particularly emphasizing the aspects related to the question.",
    "Provide a chain-of-thought, logical explanation of the problem. This should outline step-by-step reasoning.",
    "State the final answer in a clear and direct format. It must match the correct answer exactly.",
];

/// A spatial, counting or colour question with its four turns.
pub(crate) fn pose(rng: &mut Stream, canvas: Canvas) -> Posed {
    let out = canvas.split == Split::OutOfDomain;
    let mut posed = match rng.random_range(0..3) {
        0 => {
            let count = if out { rng.random_range(4..=6) } else { rng.random_range(2..=4) };
            spatial::relation(rng, canvas, count)
        }
        1 if out => counting::count(rng, canvas, 3, 6),
        1 => counting::count(rng, canvas, 1, 4),
        _ => {
            // Out of domain, five objects that share nothing may not exist: three new shapes, four new colours.
            let count = if out { rng.random_range(3..=4) } else { rng.random_range(1..=4) };
            attributes::color(rng, canvas, count)
        }
    };
    let answers = [
        posed.plan.clone(),
        format!("The image shows {}.", posed.shown.caption()),
        posed.thought.clone(),
        posed.solution.clone(),
    ];
    let turn = |((name, prompt), answer): ((&str, &str), String)| {
        let question = if name == "summary" { posed.question.as_str() } else { "" };
        Turn { name: name.to_owned(), prompt: format!("{question}{prompt}"), answer }
    };
    posed.turns = STAGES.into_iter().zip(PROMPTS).zip(answers).map(turn).collect();
    posed
}
