//! Where one object is compared to another, as multiple choice: after SAT, the set that VisualThinker-R1-Zero trains on.

use rand::RngExt;

use super::Split;
use super::chance::{Stream, pick, shuffle};
use super::object::Object;
use super::posed::{Posed, Shown, fill, guess, strings, the};
use super::scene::{Canvas, Scene};
use crate::sample::or_list;

/// Phrasings: `(in domain, out of domain)`; `{a}` is asked about, `{b}` it is compared to.
type Phrases = (&'static [&'static str], &'static [&'static str]);

const WHERE: Phrases = (
    &["Where is the {a} compared to the {b}?", "Where is the {a} relative to the {b}?"],
    &["In which direction from the {b} is the {a}?", "Seen from the {b}, where is the {a}?"],
);
const SIDE: Phrases = (
    &["Is the {a} to the left or to the right of the {b}?", "On which side of the {b} is the {a}?"],
    &["Looking from the {b}, on which side is the {a}?"],
);
const HEIGHT: Phrases = (
    &["Is the {a} above or below the {b}?", "Compared to the {b}, is the {a} above or below?"],
    &["Seen from the {b}, is the {a} above it or below it?"],
);
const CLOSEST: Phrases = (
    &["Which object is closest to the {a}?", "Which of these objects is the closest to the {a}?"],
    &["Which object is nearest to the {a}?", "What can be seen nearest to the {a}?"],
);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Left,
    Right,
    Above,
    Below,
}

impl Relation {
    const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Above, Self::Below];

    fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
            Self::Above => "above",
            Self::Below => "below",
        }
    }

    fn phrase(self) -> &'static str {
        match self {
            Self::Left => "to the left of",
            Self::Right => "to the right of",
            Self::Above => "above",
            Self::Below => "below",
        }
    }

    /// How far `a` lies from `b` in this direction, and how far across it.
    fn distance(self, a: &Object, b: &Object) -> (f32, f32) {
        let ((ax, ay), (bx, by)) = (a.center(), b.center());
        let (dx, dy) = (ax - bx, ay - by);
        match self {
            Self::Left => (-dx, dy.abs()),
            Self::Right => (dx, dy.abs()),
            Self::Above => (-dy, dx.abs()),
            Self::Below => (dy, dx.abs()),
        }
    }
}

/// A spatial question over `objects` objects.
pub(crate) fn pose(rng: &mut Stream, canvas: Canvas) -> Posed {
    let count = match canvas.split {
        Split::OutOfDomain => rng.random_range(4..=6),
        Split::Pretrain => rng.random_range(2..=5),
        _ => rng.random_range(2..=4),
    };
    let mut posed =
        if rng.random_range(0..5) == 0 { closest(rng, canvas, count.max(4)) } else { relation(rng, canvas, count) };
    posed.question = format!("Answer in natural language. {}", posed.question);
    posed
}

/// A question for the direction from one of `count` objects to another.
pub(crate) fn relation(rng: &mut Stream, canvas: Canvas, count: usize) -> Posed {
    let relation = pick(rng, &Relation::ALL);
    // Four of ten questions give two options, the others four.
    let (kind, phrases, mut choices) = match (rng.random_range(0..10), relation) {
        (0..4, Relation::Left | Relation::Right) => ("side", SIDE, strings(&["left", "right"])),
        (0..4, Relation::Above | Relation::Below) => ("height", HEIGHT, strings(&["above", "below"])),
        _ => ("where", WHERE, strings(&["left", "right", "above", "below"])),
    };
    let (scene, [a, b]) = loop {
        let looks = canvas.split.distinct_looks(rng, count);
        let scene = Scene::arrange(rng, canvas, &looks);
        let pairs: Vec<[usize; 2]> = pairs(count).filter(|&pair| is_clear(&scene, relation, kind, pair)).collect();
        if !pairs.is_empty() {
            let pair = pick(rng, &pairs);
            break (scene, pair);
        }
    };
    shuffle(rng, &mut choices);
    let (a, b) = (&scene.objects[a], &scene.objects[b]);
    let (name_a, name_b) = (a.look.name(), b.look.name());
    let stem = fill(canvas.split.phrase(rng, phrases), &name_a, &name_b);
    let guess = guess(rng, &choices);
    let guessed = Relation::ALL.into_iter().find(|r| r.name() == guess).unwrap_or(relation).phrase();
    Posed {
        kind,
        question: with_options(&stem, &choices),
        stem,
        solution: relation.name().to_owned(),
        plan: format!("I will find the {name_a} and the {name_b}. Then I will compare where they are."),
        thought: format!(
            "{}; {}. So the {name_a} is {} the {name_b}.",
            scene.note(a),
            scene.note(b),
            relation.phrase()
        ),
        guess_thought: format!("It looks like the {name_a} is {guessed} the {name_b}."),
        guess,
        choices,
        turns: vec![],
        more: vec![],
        shown: Shown::Scene(scene),
    }
}

/// Clear to the eye, and clear in words: a third of the image apart puts the two into different thirds.
fn is_clear(scene: &Scene, relation: Relation, kind: &str, [a, b]: [usize; 2]) -> bool {
    let (along, across) = relation.distance(&scene.objects[a], &scene.objects[b]);
    along >= 0.34 * scene.canvas.size as f32 && (kind != "where" || along >= 1.5 * across)
}

fn pairs(count: usize) -> impl Iterator<Item = [usize; 2]> {
    (0..count).flat_map(move |a| (0..count).filter(move |&b| b != a).map(move |b| [a, b]))
}

fn closest(rng: &mut Stream, canvas: Canvas, count: usize) -> Posed {
    let (scene, anchor, mut options) = loop {
        let looks = canvas.split.distinct_looks(rng, count);
        let scene = Scene::arrange(rng, canvas, &looks);
        let anchor = rng.random_range(0..count);
        let mut options: Vec<usize> = (0..count).filter(|&i| i != anchor).collect();
        shuffle(rng, &mut options);
        options.truncate(3);
        options.sort_by(|&i, &j| distance(&scene, anchor, i).total_cmp(&distance(&scene, anchor, j)));
        if distance(&scene, anchor, options[0]) <= 0.7 * distance(&scene, anchor, options[1]) {
            break (scene, anchor, options);
        }
    };
    let nearest = &scene.objects[options[0]];
    let anchor = &scene.objects[anchor];
    let name = anchor.look.name();
    let solution = the(nearest.look);
    shuffle(rng, &mut options);
    let seen = std::iter::once(anchor).chain(options.iter().map(|&i| &scene.objects[i]));
    let seen: Vec<String> = seen.map(|o| scene.note(o)).collect();
    let thought = format!("{}. So {solution} is closest to the {name}.", seen.join("; "));
    let choices: Vec<String> = options.iter().map(|&i| the(scene.objects[i].look)).collect();
    let stem = fill(canvas.split.phrase(rng, CLOSEST), &name, "");
    let guess = guess(rng, &choices);
    Posed {
        kind: "closest",
        question: with_options(&stem, &choices),
        stem,
        plan: format!("I will find the {name}. Then I will look for what is closest to it."),
        thought,
        guess_thought: format!("It looks like {guess} is closest to the {name}."),
        guess,
        solution,
        choices,
        turns: vec![],
        more: vec![],
        shown: Shown::Scene(scene),
    }
}

fn distance(scene: &Scene, a: usize, b: usize) -> f32 {
    let ((ax, ay), (bx, by)) = (scene.objects[a].center(), scene.objects[b].center());
    (ax - bx).hypot(ay - by)
}

fn with_options(stem: &str, choices: &[String]) -> String {
    format!("{stem} Choose between the following options: {}", or_list(choices))
}
