//! Colour, shape or presence of an object in a simple image: questions like easy-VQA's, in words of our own.

use rand::RngExt;

use super::Split;
use super::chance::{Stream, chance, pick};
use super::object::{Look, Shape, Size};
use super::posed::{Posed, Shown, fill, guess, strings, with_article};
use super::scene::{Canvas, Scene, Style};

type Phrases = (&'static [&'static str], &'static [&'static str]);

/// `{a}` is a shape's name, or the word shape where there is only one.
const COLOR: Phrases = (
    &[
        "What is the color of this {a}?",
        "Which color is the {a}?",
        "Which color does the {a} have?",
        "What color is this {a}?",
    ],
    &["Tell me the color of the {a}.", "Say which color this {a} has."],
);
/// `{a}` is a colour.
const SHAPE: Phrases = (
    &["What shape is {a}?", "Which shape is the {a} one?", "What is this {a} shape?"],
    &["Tell me which shape is {a}.", "Say what the {a} shape is."],
);
const ONLY_SHAPE: Phrases = (
    &[
        "What shape is this?",
        "Which shape is in the image?",
        "What shape do you see?",
        "Which shape does the image show?",
    ],
    &["Tell me which shape this is.", "Say what shape you see."],
);
/// `{a}` is a thing with its article, `{b}` without.
const PRESENT: Phrases = (
    &["Is there {a} here?", "Do you see {a}?", "Does the image show {a}?", "Is {a} in the image?"],
    &["Can {a} be seen?", "Does this image contain {a}?"],
);
const ABSENT: Phrases = (
    &["Is there no {b} here?", "Do you not see {a}?", "Does the image not show {a}?", "Is no {b} in the image?"],
    &["Can no {b} be seen?", "Is {a} not present?"],
);

/// A question about one attribute of a simple scene.
pub(crate) fn pose(rng: &mut Stream, canvas: Canvas) -> Posed {
    let style = if chance(rng, 0.5) { Style::Plain } else { Style::RichLarge };
    let canvas = Canvas { style, ..canvas };
    let count = pick(rng, &[1, 1, 1, 1, 1, 2, 2, 3]);
    let mut posed = match rng.random_range(0..4) {
        0 => color(rng, canvas, count),
        1 => shape(rng, canvas, count),
        _ => exists(rng, canvas, count),
    };
    // Other people's questions do not always begin with a capital letter.
    if chance(rng, 0.3) {
        posed.question = posed.question.to_lowercase();
    }
    posed
}

/// Objects of which no two share a shape or a colour.
fn scene(rng: &mut Stream, canvas: Canvas, count: usize) -> Scene {
    let mut looks: Vec<Look> = vec![];
    while looks.len() < count {
        let mut look = canvas.split.look(rng);
        if canvas.style == Style::Plain {
            look.material = super::object::Material::Matte;
        }
        if count > 2 && canvas.style != Style::Rich {
            look.size = Size::Small;
        }
        if looks.iter().all(|l| l.shape != look.shape && l.color != look.color) {
            looks.push(look);
        }
    }
    Scene::arrange(rng, canvas, &looks)
}

/// Which colour the one object of its shape has.
pub(crate) fn color(rng: &mut Stream, canvas: Canvas, count: usize) -> Posed {
    let scene = scene(rng, canvas, count);
    let object = &scene.objects[rng.random_range(0..count)];
    let shape = object.look.shape.name();
    let word = if count == 1 && chance(rng, 0.5) { "shape" } else { shape };
    let stem = fill(canvas.split.phrase(rng, COLOR), word, "");
    let choices: Vec<String> = canvas.split.colors().iter().map(|c| c.name().to_owned()).collect();
    let guess = guess(rng, &choices);
    let color = object.look.color.name();
    Posed {
        kind: "color",
        question: stem.clone(),
        stem,
        plan: format!("I will find the {word}. Then I will look at its color."),
        thought: format!("The {shape} is {}. It is {color}.", scene.place(object)),
        guess_thought: format!("It looks {guess}."),
        guess,
        solution: color.to_owned(),
        choices,
        turns: vec![],
        more: vec![],
        shown: Shown::Scene(scene),
    }
}

fn shape(rng: &mut Stream, canvas: Canvas, count: usize) -> Posed {
    let scene = scene(rng, canvas, count);
    let object = &scene.objects[rng.random_range(0..count)];
    let color = object.look.color.name();
    let phrases = if count == 1 && chance(rng, 0.5) { ONLY_SHAPE } else { SHAPE };
    let stem = fill(canvas.split.phrase(rng, phrases), color, "");
    let choices: Vec<String> = canvas.split.shapes().iter().map(|s| s.name().to_owned()).collect();
    let guess = guess(rng, &choices);
    let solution = object.look.shape.name().to_owned();
    Posed {
        kind: "shape",
        question: stem.clone(),
        stem,
        plan: format!("I will find the {color} shape. Then I will name it."),
        thought: format!("The {color} shape is {}. It is {}.", scene.place(object), with_article(&solution)),
        guess_thought: format!("It looks like {}.", with_article(&guess)),
        guess,
        solution,
        choices,
        turns: vec![],
        more: vec![],
        shown: Shown::Scene(scene),
    }
}

/// What a question for presence speaks of.
#[derive(Debug, Clone, Copy)]
enum Thing {
    Shape,
    ColoredShape,
    AnyOfColor,
}

impl Thing {
    fn name(self, look: Look) -> String {
        match self {
            Self::Shape => look.shape.name().to_owned(),
            Self::ColoredShape => look.name(),
            Self::AnyOfColor => format!("{} shape", look.color.name()),
        }
    }

    fn holds(self, asked: Look, look: Look) -> bool {
        let (same_shape, same_color) = (asked.shape == look.shape, asked.color == look.color);
        match self {
            Self::Shape => same_shape,
            Self::ColoredShape => same_shape && same_color,
            Self::AnyOfColor => same_color,
        }
    }
}

fn exists(rng: &mut Stream, canvas: Canvas, count: usize) -> Posed {
    let scene = scene(rng, canvas, count);
    let object = &scene.objects[rng.random_range(0..count)];
    let thing = pick(rng, &[Thing::Shape, Thing::ColoredShape, Thing::ColoredShape, Thing::AnyOfColor]);
    let (is_there, asks_absence) = (chance(rng, 0.5), chance(rng, 0.35));
    let mut asked = object.look;
    while !is_there && scene.objects.iter().any(|o| thing.holds(asked, o.look)) {
        asked = near_miss(rng, canvas.split, object.look);
    }
    let name = thing.name(asked);
    let phrases = if asks_absence { ABSENT } else { PRESENT };
    let stem = fill(canvas.split.phrase(rng, phrases), &with_article(&name), &name);
    let choices = strings(&["yes", "no"]);
    let guess = guess(rng, &choices);
    let solution = if is_there != asks_absence { "yes" } else { "no" };
    // An absence is shown by naming what is there instead.
    let seen: Vec<String> = scene.reading_order().iter().map(|o| with_article(&o.look.name())).collect();
    let seen = seen.join(" and ");
    let verdict = if is_there { String::new() } else { format!(" There is no {name}.") };
    let guessed_there = (guess == "yes") != asks_absence;
    let guessed = if guessed_there { with_article(&name) } else { format!("no {name}") };
    Posed {
        kind: "exists",
        question: stem.clone(),
        stem,
        plan: format!("I will look for {}.", with_article(&name)),
        thought: format!("I see {seen}.{verdict} So {solution}."),
        guess_thought: format!("It looks like there is {guessed}."),
        guess,
        solution: solution.to_owned(),
        choices,
        turns: vec![],
        more: vec![],
        shown: Shown::Scene(scene),
    }
}

/// A look that differs from `look` in shape, in colour, or in both.
fn near_miss(rng: &mut Stream, split: Split, look: Look) -> Look {
    let (shape, color): (Shape, _) = (pick(rng, split.shapes()), pick(rng, split.colors()));
    match rng.random_range(0..3) {
        0 => Look { shape, ..look },
        1 => Look { color, ..look },
        _ => Look { shape, color, ..look },
    }
}
