//! What happens in a video: which way a thing moves, and which of two is seen first (as Open-R1-Video asks, by letters).

use rand::RngExt;
use serde_json::json;

use super::Split;
use super::chance::{Stream, between, chance, pick, shuffle};
use super::film::{Actor, FRAMES, film, objects};
use super::object::{Object, Size};
use super::posed::{Posed, fill, guess, strings};
use super::scene::{Canvas, Scene, Style};

type Phrases = (&'static [&'static str], &'static [&'static str]);

const DIRECTION: Phrases = (
    &["Which way does the {a} move?", "Which way does the {a} go?"],
    &["In which direction does the {a} move?", "Say which way the {a} goes."],
);
const FIRST: Phrases = (
    &["Which comes first, the {a} or the {b}?", "Which is seen first, the {a} or the {b}?"],
    &["Which do you see first, the {a} or the {b}?", "Tell me which comes first, the {a} or the {b}."],
);

/// A question about a video of one or two things.
pub(crate) fn pose(rng: &mut Stream, canvas: Canvas) -> Posed {
    let canvas = Canvas { style: Style::CloseUp, ..canvas };
    let mut posed = if chance(rng, 0.5) { direction(rng, canvas) } else { first(rng, canvas) };
    let mut options = posed.choices.clone();
    shuffle(rng, &mut options);
    let mut lettered = posed.stem.clone();
    for (letter, option) in ('A'..).zip(&options) {
        lettered += &format!("\n{letter}. {option}");
        if *option == posed.solution {
            posed.more.push(("letter", json!(letter)));
        }
    }
    posed.more.push(("lettered", json!(lettered)));
    posed
}

/// Which way the one thing moves that does, or the one of two that is named.
fn direction(rng: &mut Stream, canvas: Canvas) -> Posed {
    let directions = ["left", "right", "up", "down"];
    let count = rng.random_range(1..=2);
    let solution = pick(rng, &directions);
    let upright = matches!(solution, "up" | "down");
    let [mover, other] = [solution, pick(rng, if upright { &["up", "down"] } else { &["left", "right"] })];
    let actors = loop {
        let mut looks = canvas.split.distinct_looks(rng, count);
        if count > 1 || canvas.size < 64 {
            looks.iter_mut().for_each(|look| look.size = Size::Small); // a large one needs all the room
        }
        let things: Vec<Object> = looks.iter().flat_map(|&l| Scene::arrange(rng, canvas, &[l]).objects).collect();
        let stands = chance(rng, 0.5);
        let ways = [(mover, false), (other, stands)];
        let actors: Option<Vec<Actor>> = things
            .into_iter()
            .zip(ways)
            .map(|(object, (way, stands))| cross(rng, canvas, object, way, stands))
            .collect();
        match actors {
            Some(actors) if are_apart(&actors, upright) => break actors,
            _ => {}
        }
    };
    let mut drawn = actors.clone();
    shuffle(rng, &mut drawn); // who is drawn and listed first says nothing
    let name = actors[0].object.look.name();
    let [from, to] = actors[0].path.map(|at| side(at, upright, canvas.size));
    let stem = fill(canvas.split.phrase(rng, DIRECTION), &name, "");
    let choices = strings(&directions);
    let guess = guess(rng, &choices);
    let note = |actor: &Actor| {
        let (look, [from, to]) = (actor.object.look, actor.path.map(|at| side(at, upright, canvas.size)));
        let way = if actor.path[0] == actor.path[1] { from.to_owned() } else { format!("{from} then {to}") };
        format!("{} {way} {}", look.color.name(), look.shape.name())
    };
    Posed {
        kind: "direction",
        question: stem.clone(),
        stem,
        choices,
        solution: solution.to_owned(),
        plan: format!("I will look where the {name} is at first. Then I will look where it is at last."),
        thought: format!("{}. So it moves {solution}.", note(&actors[0])),
        guess_thought: format!("It looks like the {name} moves {guess}."),
        guess,
        shown: film(rng, canvas, &drawn, format!("The {name} goes from {} to {}.", the(from), the(to)), note),
        more: vec![("objects", objects(&drawn))],
        ..Posed::default()
    }
}

/// Which of two things is seen first, each for a few frames only.
fn first(rng: &mut Stream, canvas: Canvas) -> Posed {
    let looks = canvas.split.distinct_looks(rng, 2);
    let things = Scene::arrange(rng, canvas, &looks).objects;
    let lengths = [rng.random_range(2..=5), rng.random_range(2..=5)];
    // What is left of the video is dealt out: before the first, at least two frames between them, after the second.
    let spare = FRAMES - 2 - lengths[0] - lengths[1];
    let mut cuts = [rng.random_range(0..=spare), rng.random_range(0..=spare)];
    cuts.sort_unstable();
    let starts = [cuts[0], cuts[1] + lengths[0] + 2];
    let actors: Vec<Actor> = things
        .into_iter()
        .zip(starts.into_iter().zip(lengths))
        .map(|(object, (start, length))| Actor {
            path: [object.center(); 2],
            seen: [start, start + length - 1],
            object,
        })
        .collect();
    let names: Vec<String> = actors.iter().map(|a| a.object.look.name()).collect();
    let mut choices = names.clone();
    shuffle(rng, &mut choices);
    let stem = fill(canvas.split.phrase(rng, FIRST), &choices[0], &choices[1]);
    let guess = guess(rng, &choices);
    let caption = format!("At first I see the {}. Then I see the {}.", names[0], names[1]);
    Posed {
        kind: "first",
        question: stem.clone(),
        stem,
        choices,
        solution: names[0].clone(),
        plan: "I will look at what is seen from the first to the last.".to_owned(),
        thought: format!("{caption} So the {}.", names[0]),
        guess_thought: format!("It looks like the {guess} comes first."),
        guess,
        shown: film(rng, canvas, &actors, caption, |actor| actor.object.look.name()),
        more: vec![("objects", objects(&actors))],
        ..Posed::default()
    }
}

/// `object` on its way across the image, from one outer third to the other; out of domain, and sometimes in pretraining, only
/// to or from the middle third, and so more slowly. None where the way is too short to be seen.
fn cross(rng: &mut Stream, canvas: Canvas, object: Object, way: &str, stands: bool) -> Option<Actor> {
    let (side, upright) = (canvas.size as f32, matches!(way, "up" | "down"));
    let (half_x, half_y) = object.half_size();
    let (half, half_across) = if upright { (half_y, half_x) } else { (half_x, half_y) };
    let third = side / 3.0;
    let gap = 0.022 * side; // between two thirds a place in words would be a matter of taste
    let (low, middle) = (between(rng, half, third - gap), between(rng, third + gap, 2.0 * third - gap));
    let high = side - between(rng, half, third - gap);
    let is_short = canvas.split == Split::OutOfDomain || (canvas.split == Split::Pretrain && chance(rng, 0.25));
    let [start, end] = match rng.random_range(0..2) {
        _ if !is_short => [low, high],
        0 => [low, middle],
        _ => [middle, high],
    };
    if end - start < side * if is_short { 0.2 } else { 1.0 / 3.0 } {
        return None;
    }
    let [start, end] = if matches!(way, "left" | "up") { [end, start] } else { [start, end] };
    let across = between(rng, half_across, side - half_across);
    let end = if stands { start } else { end };
    let path = [start, end].map(|along| if upright { (across, along) } else { (along, across) });
    Some(Actor { object, path, seen: [0, FRAMES - 1] })
}

/// Whether no two of things that move in parallel ever touch.
fn are_apart(actors: &[Actor], upright: bool) -> bool {
    let track = |a: &Actor| {
        let ((x, y), (half_x, half_y)) = (a.path[0], a.object.half_size());
        if upright { (x, half_x) } else { (y, half_y) }
    };
    let [a, b] = actors else { return true };
    let ((a, half_a), (b, half_b)) = (track(a), track(b));
    (a - b).abs() > 1.1 * (half_a + half_b)
}

/// Which third of its way across the image a point is in.
fn side((x, y): (f32, f32), upright: bool, size: u32) -> &'static str {
    let names = if upright { ["top", "middle", "bottom"] } else { ["left", "middle", "right"] };
    let at = if upright { y } else { x };
    names[((at * 3.0 / size as f32) as usize).min(2)]
}

fn the(place: &str) -> String {
    format!("the {place}")
}
