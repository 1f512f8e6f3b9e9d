//! The boxes of everything that goes by one of several names: after VLM-R1's open-vocabulary detection.

use rand::RngExt;
use serde_json::json;

use super::Split;
use super::chance::{Stream, pick, shuffle};
use super::object::{Color, Look, Object, Shape, Size};
use super::posed::{Posed, Shown, fill};
use super::referring::{box_text, random_box};
use super::scene::{Canvas, Scene, place_at};

const DETECT: (&[&str], &[&str]) = (
    &["Detect the following objects: {a}."],
    &["Find all the following objects: {a}.", "Where are the following objects? {a}."],
);

/// A colour, a shape, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Label {
    color: Option<Color>,
    shape: Option<Shape>,
}

impl Label {
    fn draw(rng: &mut Stream, split: Split) -> Self {
        let look = split.look(rng);
        let (colors, shapes) = match split {
            Split::OutOfDomain => (Color::OUT_OF_DOMAIN, Shape::OUT_OF_DOMAIN),
            other => (other.colors(), other.shapes()),
        };
        match rng.random_range(0..3) {
            0 => Self { color: Some(pick(rng, colors)), shape: None },
            1 => Self { color: None, shape: Some(pick(rng, shapes)) },
            _ => Self { color: Some(look.color), shape: Some(look.shape) },
        }
    }

    fn name(self) -> String {
        let words = [self.color.map(Color::name), self.shape.map(Shape::name)];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    fn holds(self, look: Look) -> bool {
        self.color.is_none_or(|c| c == look.color) && self.shape.is_none_or(|s| s == look.shape)
    }

    /// `look`, made one that goes by this name.
    fn take(self, look: Look) -> Look {
        Look { color: self.color.unwrap_or(look.color), shape: self.shape.unwrap_or(look.shape), ..look }
    }
}

/// How many objects go by a name: rarely none.
fn instances(rng: &mut Stream) -> usize {
    pick(rng, &[0, 1, 1, 1, 1, 2, 2, 2, 3, 3])
}

/// A question for the boxes of what goes by one or two names.
pub(crate) fn pose(rng: &mut Stream, canvas: Canvas) -> Posed {
    let (scene, labels) = loop {
        if let Some(found) = scene(rng, canvas) {
            break found;
        }
    };
    let names: Vec<String> = labels.iter().map(|label| label.name()).collect();
    let list = format!("[{}]", names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", "));
    let label = |o: &Object| labels.iter().position(|l| l.holds(o.look));
    let order = scene.reading_order();
    let found: Vec<(&Object, &str)> = order.iter().filter_map(|o| Some((*o, names[label(o)?].as_str()))).collect();
    let boxes: Vec<_> = found.iter().map(|(o, name)| (o.pixel_box(), *name)).collect();
    let seen: Vec<String> = found.iter().map(|(o, _)| scene.note(o)).collect();
    let mut guesses: Vec<([i64; 4], &str)> = vec![];
    for name in &names {
        for _ in 0..instances(rng) {
            let size = pick(rng, &Size::ALL);
            guesses.push((random_box(rng, canvas, size), name.as_str()));
        }
    }
    let guessed_place = |&([x1, y1, x2, y2], name): &([i64; 4], &str)| {
        format!("{name} {}", place_at(((x1 + x2) as f32 / 2.0, (y1 + y2) as f32 / 2.0), canvas.size))
    };
    let guessed: Vec<String> = guesses.iter().map(guessed_place).collect();
    let stem = fill(canvas.split.phrase(rng, DETECT), &list, "");
    Posed {
        kind: "boxes",
        question: stem.clone(),
        stem,
        solution: boxes_text(&boxes),
        plan: format!("I will look for each {}. Then I will say where its sides are.", names.join(" and each ")),
        thought: format!("{}.", or_none(&seen)),
        guess: boxes_text(&guesses),
        guess_thought: format!("It looks like {}.", or_none(&guessed)),
        more: vec![("labels", json!(names))],
        shown: Shown::Scene(scene),
        ..Posed::default()
    }
}

fn or_none(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join("; ") }
}

/// Objects some of which go by the names, none by both, and nothing in front of those that do; none where that failed.
fn scene(rng: &mut Stream, canvas: Canvas) -> Option<(Scene, Vec<Label>)> {
    let labels: Vec<Label> = (0..rng.random_range(1..=2)).map(|_| Label::draw(rng, canvas.split)).collect();
    let mut looks = vec![];
    for label in &labels {
        for _ in 0..instances(rng) {
            looks.push(label.take(canvas.split.look(rng)));
        }
    }
    if looks.iter().any(|&look| labels.iter().filter(|l| l.holds(look)).count() != 1)
        || labels[1..].contains(&labels[0])
    {
        return None;
    }
    let wanted = looks.len();
    let count = rng.random_range(3..=6).max(wanted);
    while looks.len() < count {
        let look = canvas.split.look(rng);
        if labels.iter().all(|l| !l.holds(look)) {
            looks.push(look);
        }
    }
    shuffle(rng, &mut looks[..wanted]);
    looks.rotate_left(wanted); // what is asked for is drawn last
    let scene = Scene::arrange(rng, canvas, &looks);
    let wanted = &scene.objects[count - wanted..];
    let meet = |a: [i64; 4], b: [i64; 4]| a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
    let hidden = wanted.iter().enumerate().any(|(i, a)| wanted[..i].iter().any(|b| meet(a.pixel_box(), b.pixel_box())));
    (!hidden).then_some((scene, labels))
}

/// As VLM-R1 writes boxes, in one line.
fn boxes_text(boxes: &[([i64; 4], &str)]) -> String {
    if boxes.is_empty() {
        return "None".to_owned();
    }
    let item = |&(at, name): &([i64; 4], &str)| format!("{{\"bbox_2d\": {}, \"label\": \"{name}\"}}", box_text(at));
    format!("[{}]", boxes.iter().map(item).collect::<Vec<_>>().join(", "))
}
