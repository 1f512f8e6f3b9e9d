//! Every object of the image, in reading order.

use rand::RngExt;

use super::Split;
use super::chance::Stream;
use super::posed::{Posed, Shown};
use super::scene::{Canvas, Scene};

const DESCRIBE: (&[&str], &[&str]) = (
    &["Describe the image.", "What is in the image?", "Describe all the items you see."],
    &["Tell me what the image shows.", "Say what you see."],
);

/// A request for the caption of a scene.
pub(crate) fn pose(rng: &mut Stream, canvas: Canvas) -> Posed {
    let scene = scene(rng, canvas);
    let elsewhere = self::scene(rng, canvas);
    let stem = canvas.split.phrase(rng, DESCRIBE).to_owned();
    let items = |scene: &Scene| match scene.objects.len() {
        1 => "There is 1 item.".to_owned(),
        n => format!("There are {n} items."),
    };
    Posed {
        kind: "caption",
        question: stem.clone(),
        stem,
        choices: vec![],
        solution: scene.caption(),
        plan: "I will look for all the items from the top left to the bottom right.".to_owned(),
        thought: items(&scene),
        guess: elsewhere.caption(),
        guess_thought: items(&elsewhere),
        turns: vec![],
        more: vec![],
        shown: Shown::Scene(scene),
    }
}

fn scene(rng: &mut Stream, canvas: Canvas) -> Scene {
    let count = match canvas.split {
        Split::OutOfDomain => rng.random_range(3..=6),
        _ => rng.random_range(1..=4),
    };
    let looks: Vec<_> = (0..count).map(|_| canvas.split.look(rng)).collect();
    Scene::arrange(rng, canvas, &looks)
}
