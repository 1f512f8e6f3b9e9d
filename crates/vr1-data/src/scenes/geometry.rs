//! Lengths and areas of a figure on squared paper: questions with numbers, as GeoQA's are.

use rand::RngExt;
use serde_json::json;

use super::Split;
use super::chance::{Stream, chance, pick};
use super::figure::Figure;
use super::posed::{Posed, Shown, fill};
use super::scene::Canvas;
use super::sheet::{Sheet, shade};
use crate::{Media, Picture};

type Phrases = (&'static [&'static str], &'static [&'static str]);

/// `{a}` is what is asked for, `{b}` the figure.
const WHAT: Phrases = (
    &["Each cell has side 1. What is the {a} of the {b}?", "What is the {a} of the {b}? Each cell has side 1."],
    &["The side of a cell is 1. Find the {a} of this {b}.", "Find the {a} of the {b}, where a cell has side 1."],
);

/// A cell's side, in pixels of 112.
const CELL: f32 = 16.0;
/// How many cells the paper is wide and high.
const CELLS: u32 = 7;

/// A question for a number that a figure has.
pub(crate) fn pose(rng: &mut Stream, canvas: Canvas) -> Posed {
    let is_other = canvas.split == Split::OutOfDomain || (canvas.split == Split::Pretrain && chance(rng, 0.25));
    let (figure, asked) = Figure::draw(rng, is_other);
    let like = |other: Figure| std::mem::discriminant(&other) == std::mem::discriminant(&figure);
    let guess = loop {
        let (other, other_asked) = Figure::draw(rng, is_other);
        if like(other) && other_asked.kind() == asked.kind() {
            break other.solve(other_asked).1.to_string();
        }
    };
    let color = pick(rng, canvas.split.colors());
    let (w, h) = figure.size();
    let (x, y) = (rng.random_range(0..=CELLS - w), rng.random_range(0..=CELLS - h));
    let (mirror_x, mirror_y) = (chance(rng, 0.5), chance(rng, 0.5));
    let turned = |(at_x, at_y): (u32, u32)| {
        (x + if mirror_x { w - at_x } else { at_x }, y + if mirror_y { h - at_y } else { at_y })
    };
    let corners: Vec<_> = figure.corners().into_iter().map(turned).collect();

    let mut sheet = Sheet::new(rng, canvas);
    let points: Vec<_> = corners.iter().map(|&(x, y)| (x as f32 * CELL, y as f32 * CELL)).collect();
    sheet.figure(&points, shade(rng, color));
    for i in 0..=CELLS {
        let (at, end) = (i as f32 * CELL, CELLS as f32 * CELL);
        sheet.rule((at, 0.0), (at, end));
        sheet.rule((0.0, at), (end, at));
    }
    let picture = Picture::from(sheet.finish(rng));

    let name = figure.name();
    let stem = fill(canvas.split.phrase(rng, WHAT), asked.name(), name);
    let (thought, solution) = figure.solve(asked);
    let caption = format!("The {} {name} is {w} wide and {h} high.", color.name());
    let notes = format!("{w} wide; {h} high");
    Posed {
        kind: asked.kind(),
        question: stem.clone(),
        stem,
        solution: solution.to_string(),
        plan: format!(
            "I will count how many cells the {name} is wide and high. Then I will work out the {}.",
            asked.name()
        ),
        thought,
        guess_thought: format!("It looks like {guess}."),
        guess,
        shown: Shown::Drawn { media: vec![Media::Image(picture)], caption, notes },
        more: vec![("figure", json!({ "shape": name, "color": color.name(), "corners": corners }))],
        ..Posed::default()
    }
}
