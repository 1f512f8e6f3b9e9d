//! How many objects there are: after CLEVR and SuperCLEVR, the sets that R1-V trains and is tested on.

use rand::RngExt;

use super::Split;
use super::chance::{Stream, chance, pick, shuffle};
use super::object::{Color, Look, Material, Shape};
use super::posed::{Posed, Shown, fill, guess};
use super::scene::{Canvas, Scene};

const TOTAL: (&[&str], &[&str]) = (
    &["How many different items are there in the image?", "How many items are there in the image?"],
    &["What is the number of items in the image?", "Count all the items you see."],
);
const SOME: (&[&str], &[&str]) = (
    &["How many {a} are there in the image?", "How many {a} do you see?"],
    &["What is the number of {a} in the image?", "Count all the {a} you see."],
);

/// What the objects to count have in common.
#[derive(Debug, Clone, Copy)]
enum Group {
    All,
    Color(Color),
    Shape(Shape),
    Material(Material),
}

impl Group {
    fn draw(rng: &mut Stream, split: Split) -> Self {
        match (rng.random_range(0..10), split) {
            (0..4, _) => Self::All,
            (4..7, Split::OutOfDomain) => Self::Color(pick(rng, Color::OUT_OF_DOMAIN)),
            (4..7, _) => Self::Color(pick(rng, split.colors())),
            (7..9, Split::OutOfDomain) => Self::Shape(pick(rng, Shape::OUT_OF_DOMAIN)),
            (7..9, _) => Self::Shape(pick(rng, split.shapes())),
            _ => Self::Material(pick(rng, &Material::ALL)),
        }
    }

    fn holds(self, look: Look) -> bool {
        match self {
            Self::All => true,
            Self::Color(color) => look.color == color,
            Self::Shape(shape) => look.shape == shape,
            Self::Material(material) => look.material == material,
        }
    }

    /// `look`, made one of the group; the result is still of `look`'s split, as the group's own attribute is.
    fn take(self, look: Look) -> Look {
        match self {
            Self::All => look,
            Self::Color(color) => Look { color, ..look },
            Self::Shape(shape) => Look { shape, ..look },
            Self::Material(material) => Look { material, ..look },
        }
    }

    /// `red items`, `circles`
    fn plural(self) -> String {
        match self {
            Self::All => "items".to_owned(),
            Self::Color(color) => format!("{} items", color.name()),
            Self::Shape(shape) => shape.plural(),
            Self::Material(material) => format!("{} items", material.name()),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::All => "total",
            Self::Color(_) => "count_color",
            Self::Shape(_) => "count_shape",
            Self::Material(_) => "count_material",
        }
    }
}

/// A question for a number; each number of the split's range is as likely.
pub(crate) fn pose(rng: &mut Stream, canvas: Canvas) -> Posed {
    let (low, high) = match canvas.split {
        Split::OutOfDomain => (5, 9),
        Split::Pretrain if chance(rng, 0.15) => (5, 9),
        _ => (1, 6),
    };
    count(rng, canvas, low, high)
}

/// As [`pose`], with answers from `low` to `high`.
pub(crate) fn count(rng: &mut Stream, canvas: Canvas, low: usize, high: usize) -> Posed {
    let answer = rng.random_range(low..=high);
    let group = Group::draw(rng, canvas.split);
    let others = if matches!(group, Group::All) { 0 } else { rng.random_range(0..=3).min(high + 1 - answer) };
    let mut looks: Vec<Look> = (0..answer).map(|_| group.take(canvas.split.look(rng))).collect();
    while looks.len() < answer + others {
        let look = canvas.split.look(rng);
        if !group.holds(look) {
            looks.push(look);
        }
    }
    shuffle(rng, &mut looks);
    let scene = Scene::arrange(rng, canvas, &looks);

    let plural = group.plural();
    let phrases = if matches!(group, Group::All) { TOTAL } else { SOME };
    let stem = fill(canvas.split.phrase(rng, phrases), &plural, "");
    let counted = scene.reading_order().into_iter().filter(|o| group.holds(o.look)).enumerate();
    let counted: Vec<String> = counted.map(|(i, o)| format!("{} {}", i + 1, o.look.name())).collect();
    let choices: Vec<String> = (low..=high).map(|n| n.to_string()).collect();
    let guess = guess(rng, &choices);
    Posed {
        kind: group.kind(),
        question: stem.clone(),
        stem,
        solution: answer.to_string(),
        plan: format!("I will look for all the {plural}. Then I will count them one by one."),
        thought: format!("{}. So the number of {plural} is {answer}.", counted.join(", ")),
        guess_thought: format!("It looks like the number of {plural} is {guess}."),
        guess,
        choices,
        turns: vec![],
        more: vec![],
        shown: Shown::Scene(scene),
    }
}
