//! A bar chart to be read: how high a bar is, which is the highest, how much higher one is than another.

use rand::RngExt;
use serde_json::{Value, json};

use super::Split;
use super::chance::{Stream, shuffle};
use super::object::Color;
use super::posed::{Posed, Shown, fill, guess};
use super::scene::Canvas;
use super::sheet::{Sheet, shade};
use crate::{Media, Picture};

type Phrases = (&'static [&'static str], &'static [&'static str]);

const VALUE: Phrases =
    (&["How high is the {a} bar?", "What is the height of the {a} bar?"], &["Tell me how high the {a} bar is."]);
const HIGHEST: Phrases =
    (&["Which bar is the highest?", "What color is the highest bar?"], &["Tell me which bar is the highest."]);
const DIFFERENCE: Phrases = (
    &["How much higher is the {a} bar than the {b} bar?", "How much lower is the {b} bar than the {a} bar?"],
    &["Find how much higher the {a} bar is than the {b} bar."],
);

/// The lengths of a chart, in pixels of 112.
const UNIT: f32 = 15.0;
const BASE: f32 = 110.0;
const BAR: f32 = 18.0;
/// The height of the highest bar there may be.
const MOST: u32 = 7;

#[derive(Debug, Clone, Copy)]
struct Bar {
    color: Color,
    height: u32,
}

impl Bar {
    /// `red 3`
    fn note(&self) -> String {
        format!("{} {}", self.color.name(), self.height)
    }
}

/// A question about three or four bars.
pub(crate) fn pose(rng: &mut Stream, canvas: Canvas) -> Posed {
    let mut posed = match rng.random_range(0..3) {
        0 => value(rng, canvas),
        1 => highest(rng, canvas),
        _ => difference(rng, canvas),
    };
    posed.question = posed.stem.clone();
    posed.guess_thought = format!("It looks like {}.", posed.guess);
    posed
}

fn value(rng: &mut Stream, canvas: Canvas) -> Posed {
    let bars = bars(rng, canvas.split);
    let asked = bars[rng.random_range(0..bars.len())];
    let color = asked.color.name();
    Posed {
        kind: "value",
        stem: fill(canvas.split.phrase(rng, VALUE), color, ""),
        solution: asked.height.to_string(),
        plan: format!("I will look how high the {color} bar is."),
        thought: format!("{}.", asked.note()),
        guess: rng.random_range(1..=MOST).to_string(),
        ..shown(rng, canvas, &bars)
    }
}

fn highest(rng: &mut Stream, canvas: Canvas) -> Posed {
    let (bars, most) = loop {
        let bars = bars(rng, canvas.split);
        let height = bars.iter().map(|b| b.height).max().unwrap_or_default();
        let mut highest = bars.iter().filter(|b| b.height == height).copied();
        if let (Some(only), None) = (highest.next(), highest.next()) {
            break (bars, only);
        }
    };
    let choices: Vec<String> = bars.iter().map(|b| b.color.name().to_owned()).collect();
    Posed {
        kind: "highest",
        stem: canvas.split.phrase(rng, HIGHEST).to_owned(),
        solution: most.color.name().to_owned(),
        plan: "I will look how high each bar is.".to_owned(),
        thought: format!("{}. So {}.", notes(&bars), most.color.name()),
        guess: guess(rng, &choices),
        choices,
        ..shown(rng, canvas, &bars)
    }
}

fn difference(rng: &mut Stream, canvas: Canvas) -> Posed {
    let bars = bars(rng, canvas.split);
    let mut pair = bars.clone();
    shuffle(rng, &mut pair);
    let (a, b) = if pair[0].height >= pair[1].height { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
    let (name_a, name_b) = (a.color.name(), b.color.name());
    let solution = a.height - b.height;
    Posed {
        kind: "difference",
        stem: fill(canvas.split.phrase(rng, DIFFERENCE), name_a, name_b),
        solution: solution.to_string(),
        plan: format!("I will look how high the {name_a} bar and the {name_b} bar are."),
        thought: format!("{}; {}. {} - {} = {solution}.", a.note(), b.note(), a.height, b.height),
        guess: rng.random_range(0..MOST).to_string(),
        ..shown(rng, canvas, &bars)
    }
}

fn bars(rng: &mut Stream, split: Split) -> Vec<Bar> {
    let mut colors = if split == Split::OutOfDomain { Color::OUT_OF_DOMAIN } else { split.colors() }.to_vec();
    shuffle(rng, &mut colors);
    colors.truncate(rng.random_range(3..=4));
    colors.into_iter().map(|color| Bar { color, height: rng.random_range(1..=MOST) }).collect()
}

fn notes(bars: &[Bar]) -> String {
    bars.iter().map(Bar::note).collect::<Vec<_>>().join("; ")
}

/// The chart, with what is true of it whatever is asked.
fn shown(rng: &mut Stream, canvas: Canvas, bars: &[Bar]) -> Posed {
    let mut sheet = Sheet::new(rng, canvas);
    let slot = 112.0 / bars.len() as f32;
    let mut described = vec![];
    for (i, bar) in bars.iter().enumerate() {
        let left = slot * (i as f32 + 0.5) - BAR / 2.0;
        let (right, top) = (left + BAR, BASE - UNIT * bar.height as f32);
        sheet.figure(&[(left, top), (right, top), (right, BASE), (left, BASE)], shade(rng, bar.color));
        let at = [left, top, right, BASE].map(|v| (v * canvas.size as f32 / 112.0).round() as i64);
        described.push(json!({ "color": bar.color.name(), "height": bar.height, "box": at }));
    }
    for unit in 1..=MOST {
        let y = BASE - UNIT * unit as f32;
        sheet.rule((0.0, y), (112.0, y));
    }
    sheet.base((0.0, BASE), (112.0, BASE));
    let picture = Picture::from(sheet.finish(rng));
    let is = |bar: &Bar| format!("The {} bar is {} high.", bar.color.name(), bar.height);
    let caption = bars.iter().map(is).collect::<Vec<_>>().join(" ");
    Posed {
        shown: Shown::Drawn { media: vec![Media::Image(picture)], caption, notes: notes(bars) },
        more: vec![("bars", Value::Array(described))],
        ..Posed::default()
    }
}
