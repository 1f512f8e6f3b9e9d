//! The box of the object that a sentence describes: after RefCOCO, as VLM-R1 asks for it.

use rand::RngExt;
use serde_json::json;

use super::Split;
use super::chance::{Stream, between, chance, pick, shuffle};
use super::object::{Look, Object, Size};
use super::posed::{Posed, Shown};
use super::scene::{Canvas, Scene, place_at};

/// VLM-R1's question, to which the description is added.
const QUESTION: &str = "Please provide the bounding box coordinate of the region this sentence describes:";

/// A question for the box of one of several objects, some of which are much like it.
pub(crate) fn pose(rng: &mut Stream, canvas: Canvas) -> Posed {
    let count = match canvas.split {
        Split::OutOfDomain => rng.random_range(5..=7),
        _ => rng.random_range(2..=5),
    };
    let (scene, description) = loop {
        let target = canvas.split.look(rng);
        let mut looks = vec![target];
        while looks.len() < count {
            let look = similar(rng, canvas.split, target);
            if canvas.split == Split::OutOfDomain || looks.iter().all(|l| l.color != look.color) {
                looks.push(look);
            }
        }
        shuffle(rng, &mut looks[1..]);
        looks.rotate_left(1); // drawn last: nothing hides a part of it, so its outline's box is the visible box
        let scene = Scene::arrange(rng, canvas, &looks);
        if let Some(description) = describe(rng, &scene) {
            break (scene, description);
        }
    };
    let target = &scene.objects[count - 1];
    let bounds = target.pixel_box();
    let (x, y) = target.center();
    let guessed = random_box(rng, canvas, target.look.size);
    let [x1, y1, x2, y2] = guessed.map(|v| v as f32);
    let guessed_place = place_at(((x1 + x2) / 2.0, (y1 + y2) / 2.0), canvas.size);
    Posed {
        kind: "box",
        stem: description.clone(),
        question: format!("{QUESTION} {description}."),
        choices: vec![],
        solution: box_text(bounds),
        plan: format!("I will look for {description}. Then I will say where its sides are."),
        thought: format!("{}, center {x:.0}, {y:.0}.", scene.note(target)),
        guess: box_text(guessed),
        guess_thought: format!("It looks like {} is {guessed_place}.", the_name(target)),
        turns: vec![],
        more: vec![("box", json!(bounds))],
        shown: Shown::Scene(scene),
    }
}

fn the_name(object: &Object) -> String {
    format!("the {} {}", object.look.size.name(), object.look.name())
}

pub(crate) fn box_text([x1, y1, x2, y2]: [i64; 4]) -> String {
    format!("[{x1}, {y1}, {x2}, {y2}]")
}

/// A look that is often like `target` and stays in the split: in domain its shape, out of domain its twin.
fn similar(rng: &mut Stream, split: Split, target: Look) -> Look {
    let look = split.look(rng);
    match (split, rng.random_range(0..5)) {
        (Split::OutOfDomain, 0) => Look { shape: target.shape, color: target.color, ..look },
        (Split::OutOfDomain, _) => look,
        (_, 0 | 1) => Look { shape: target.shape, ..look },
        _ => look,
    }
}

/// Words that fit the last object alone; none where it has a twin.
fn describe(rng: &mut Stream, scene: &Scene) -> Option<String> {
    let (target, others) = scene.objects.split_last()?;
    // Each form names one more thing: colour and shape; and size; and material; all four.
    let forms: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];
    let start = rng.random_range(0..3);
    let wants_place = chance(rng, 0.35);
    let fits = |(size, material): (bool, bool), place: bool| {
        let same = |o: &&Object| {
            (o.look.color, o.look.shape) == (target.look.color, target.look.shape)
                && (!size || o.look.size == target.look.size)
                && (!material || o.look.material == target.look.material)
                && (!place || scene.place(o) == scene.place(target))
        };
        others.iter().filter(same).count() == 0
    };
    let (form, place) = (start..4)
        .flat_map(|i| [(forms[i], wants_place), (forms[i], true)])
        .find(|&(form, place)| fits(form, place))?;
    let mut words = vec![];
    if form.0 {
        words.push(target.look.size.name());
    }
    if form.1 {
        words.push(target.look.material.name());
    }
    let (color, shape) = (target.look.color.name(), target.look.shape.name());
    let mut text = if scene.canvas.split.other_words(rng) {
        words.push(shape);
        format!("the {} that is {color}", words.join(" "))
    } else {
        words.extend([color, shape]);
        format!("the {}", words.join(" "))
    };
    if place {
        text = format!("{text} {}", scene.place(target));
    }
    Some(text)
}

/// A box of a likely size, anywhere.
pub(crate) fn random_box(rng: &mut Stream, canvas: Canvas, size: Size) -> [i64; 4] {
    let side = canvas.size as f32;
    let radius = if size == Size::Small { between(rng, 6.0, 8.0) } else { between(rng, 12.0, 16.0) } * side / 112.0;
    let (x, y) = (between(rng, radius, side - radius), between(rng, radius, side - radius));
    let narrow = pick(rng, &[0.7, 1.0, 1.0]);
    let (w, h) = if chance(rng, 0.5) { (radius * narrow, radius) } else { (radius, radius * narrow) };
    [x - w, y - h, x + w, y + h].map(|v| v.round() as i64)
}
