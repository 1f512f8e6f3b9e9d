//! A window of a scene, as small as it likes, its objects as large as in the scenes: what a look is learnt from where
//! little distracts.

use rand::RngExt;

use super::chance::Stream;
use super::object::Look;
use super::posed::{Posed, Shown};
use super::scene::{Canvas, Scene, Style};

const NAME: (&[&str], &[&str]) =
    (&["What is this?", "What do you see?"], &["Tell me what this is.", "Say what you see."]);

/// A request for the whole names of up to five objects.
pub(crate) fn pose(rng: &mut Stream, canvas: Canvas) -> Posed {
    let canvas = Canvas { style: Style::CloseUp, ..canvas };
    let most = (canvas.size * canvas.size / (48 * 48)).clamp(1, 5) as usize; // each has 48 x 48 pixels
    let count = rng.random_range(1..=most);
    let names = |looks: &[Look]| looks.iter().map(|look| look.full_name()).collect::<Vec<_>>().join("; ");
    let looks = canvas.split.distinct_looks(rng, count);
    let (solution, guess) = (names(&looks), names(&canvas.split.distinct_looks(rng, count)));
    let scene = Scene::arrange(rng, canvas, &looks);
    let stem = canvas.split.phrase(rng, NAME).to_owned();
    Posed {
        kind: "close_up",
        question: stem.clone(),
        stem,
        choices: vec![],
        solution: solution.clone(),
        plan: "I will look at the size, the surface, the color and the outline.".to_owned(),
        thought: format!("I see: {solution}."),
        guess_thought: format!("It looks like: {guess}."),
        guess,
        turns: vec![],
        more: vec![],
        shown: Shown::Scene(scene),
    }
}
