//! A scene: objects that have found their places, and what is true of them in words.

use super::Split;
use super::chance::{Stream, between, chance, pick};
use super::object::{Color, Look, Material, Object, Shape, Size};

/// The margins of a scene that are the task's to choose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Canvas {
    /// Width and height in pixels.
    pub(crate) size: u32,
    pub(crate) split: Split,
    pub(crate) style: Style,
}

/// How a scene is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Lamps, clutter, outlines, occlusion.
    Rich,
    /// One flat colour behind few large objects, as easy-VQA draws.
    Plain,
    /// As rich, with few large objects.
    RichLarge,
    /// As rich, a window of a scene: objects are as large as in 112 pixels, whatever the size.
    CloseUp,
}

impl Canvas {
    /// How many places objects have along a side: a step is 8 pixels of 112.
    pub(crate) fn places(self) -> f32 {
        if self.style == Style::CloseUp { self.size as f32 / 8.0 } else { 14.0 }
    }

    /// The pixels of the image that are one of 112.
    pub(crate) fn unit(self) -> f32 {
        self.size as f32 / (8.0 * self.places())
    }
}

/// Objects on a canvas, in the order in which they are drawn.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) canvas: Canvas,
    pub(crate) objects: Vec<Object>,
}

impl Split {
    pub(crate) fn shapes(self) -> &'static [Shape] {
        if matches!(self, Self::Train | Self::InDomain) { Shape::IN_DOMAIN } else { &Shape::ALL }
    }

    pub(crate) fn colors(self) -> &'static [Color] {
        if matches!(self, Self::Train | Self::InDomain) { Color::IN_DOMAIN } else { &Color::ALL }
    }

    /// A look of this split. Out of domain, the pair of shape and colour is never one of the training splits': at least
    /// one of the two is new.
    pub(crate) fn look(self, rng: &mut Stream) -> Look {
        let (shape, color) = match self {
            Self::OutOfDomain if chance(rng, 0.5) => (pick(rng, Shape::OUT_OF_DOMAIN), pick(rng, &Color::ALL)),
            Self::OutOfDomain => (pick(rng, &Shape::ALL), pick(rng, Color::OUT_OF_DOMAIN)),
            _ => (pick(rng, self.shapes()), pick(rng, self.colors())),
        };
        Look { shape, color, size: pick(rng, &Size::ALL), material: pick(rng, &Material::ALL) }
    }

    /// `count` looks, no two of the same colour.
    pub(crate) fn distinct_looks(self, rng: &mut Stream, count: usize) -> Vec<Look> {
        let mut looks: Vec<Look> = Vec::with_capacity(count);
        while looks.len() < count {
            let look = self.look(rng);
            if looks.iter().all(|l| l.color != look.color) {
                looks.push(look);
            }
        }
        looks
    }

    /// Whether an object stands where it likes, instead of on a grid. Pretraining has seen both.
    pub(crate) fn is_loose(self, rng: &mut Stream) -> bool {
        match self {
            Self::Pretrain => chance(rng, 0.2),
            Self::Train | Self::InDomain => false,
            Self::OutOfDomain => true,
        }
    }

    /// Whether to speak as the out-of-domain split does. Pretraining does so one time in four.
    pub(crate) fn other_words(self, rng: &mut Stream) -> bool {
        match self {
            Self::Pretrain => chance(rng, 0.25),
            Self::Train | Self::InDomain => false,
            Self::OutOfDomain => true,
        }
    }

    /// One phrasing of a question: `(in domain, out of domain)`.
    pub(crate) fn phrase(self, rng: &mut Stream, (usual, other): (&[&'static str], &[&'static str])) -> &'static str {
        if self.other_words(rng) { pick(rng, other) } else { pick(rng, usual) }
    }
}

impl Scene {
    /// Gives each look a place where it can be told from the others, in drawing order.
    pub(crate) fn arrange(rng: &mut Stream, canvas: Canvas, looks: &[Look]) -> Self {
        let overlap = match canvas.split {
            _ if canvas.style == Style::Plain => 1.15,
            Split::OutOfDomain => pick(rng, &[1.15, 0.85, 0.78]),
            _ => pick(rng, &[1.15, 1.15, 0.85]),
        };
        let mut shrink = 1.0;
        loop {
            if let Some(objects) = try_arrange(rng, canvas, looks, overlap, shrink) {
                return Self { canvas, objects };
            }
            shrink *= 0.96; // too crowded: smaller objects always find room
        }
    }

    /// Objects from top to bottom by thirds of the image, then from left to right.
    pub(crate) fn reading_order(&self) -> Vec<&Object> {
        let mut order: Vec<&Object> = self.objects.iter().collect();
        let key = |o: &Object| (self.thirds(o).1, o.center().0);
        order.sort_by(|a, b| {
            let (a, b) = (key(a), key(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        order
    }

    /// `a small shiny red circle at the top left; a large matte blue square in the middle`
    pub(crate) fn caption(&self) -> String {
        let phrase = |o: &&Object| format!("a {} {}", o.look.full_name(), self.place(o));
        self.reading_order().iter().map(phrase).collect::<Vec<_>>().join("; ")
    }

    /// `red top left circle; blue middle square`: the place right behind the colour by which the object is found, in
    /// drawing order, which says nothing of places.
    pub(crate) fn notes(&self) -> String {
        self.objects.iter().map(|o| self.note(o)).collect::<Vec<_>>().join("; ")
    }

    /// `red top left circle`
    pub(crate) fn note(&self, object: &Object) -> String {
        let place = self.place(object).trim_start_matches("at the ").trim_start_matches("in the ");
        format!("{} {place} {}", object.look.color.name(), object.look.shape.name())
    }

    /// Which third of the image the object's middle is in: column, row.
    fn thirds(&self, object: &Object) -> (usize, usize) {
        let (x, y) = object.center();
        (third(x, self.canvas.size), third(y, self.canvas.size))
    }

    /// `at the top left`, … `in the middle`
    pub(crate) fn place(&self, object: &Object) -> &'static str {
        place_at(object.center(), self.canvas.size)
    }
}

/// The place of a point of an image of `size` pixels, in words.
pub(crate) fn place_at((x, y): (f32, f32), size: u32) -> &'static str {
    const PLACES: [[&str; 3]; 3] = [
        ["at the top left", "at the top", "at the top right"],
        ["at the left", "in the middle", "at the right"],
        ["at the bottom left", "at the bottom", "at the bottom right"],
    ];
    PLACES[third(y, size)][third(x, size)]
}

fn third(at: f32, size: u32) -> usize {
    ((at * 3.0 / size as f32) as usize).min(2)
}

/// Whether the point is so close to a border between two thirds that its place in words would be a matter of taste.
fn is_between_places((x, y): (f32, f32), size: u32) -> bool {
    let near = |at: f32| {
        let at = at / size as f32;
        (at - 1.0 / 3.0).abs() < 0.022 || (at - 2.0 / 3.0).abs() < 0.022
    };
    near(x) || near(y)
}

/// The nearest of 14 x 14 places, give or take a pixel of 112.
fn snapped(rng: &mut Stream, (x, y): (f32, f32), canvas: Canvas) -> (f32, f32) {
    let step = 8.0 * canvas.unit();
    let mut snap = |at: f32| (at / step).round() * step + between(rng, -1.0, 1.0) * canvas.unit();
    (snap(x), snap(y))
}

fn try_arrange(rng: &mut Stream, canvas: Canvas, looks: &[Look], overlap: f32, shrink: f32) -> Option<Vec<Object>> {
    let (small, large) = match canvas.style {
        Style::Rich | Style::CloseUp => ((8.0, 10.5), (13.5, 17.0)),
        Style::Plain | Style::RichLarge => ((7.5, 12.0), (17.0, 27.0)),
    };
    let side = canvas.size as f32;
    let spoken = canvas.size > 48; // the thirds of less are not far enough apart
    let mut objects: Vec<(Object, (f32, f32))> = Vec::with_capacity(looks.len());
    for &look in looks {
        let (low, high) = if look.size == Size::Small { small } else { large };
        let radius = between(rng, low, high) * shrink * canvas.unit();
        let margin = radius * 1.16 + 0.5;
        let fits = |objects: &[(Object, (f32, f32))], at: (f32, f32)| {
            objects.iter().all(|(o, (x, y))| {
                let apart = if o.look.color == look.color { 1.15 } else { overlap };
                (x - at.0).hypot(y - at.1) >= apart * (o.radius + radius)
            })
        };
        let mut tries = 0..60;
        let object = loop {
            tries.next()?;
            let at = (between(rng, margin, side - margin), between(rng, margin, side - margin));
            let at = if canvas.split.is_loose(rng) { at } else { snapped(rng, at, canvas) };
            if at.0 < margin || at.1 < margin || at.0 > side - margin || at.1 > side - margin {
                continue;
            }
            if !fits(&objects, at) || (spoken && is_between_places(at, canvas.size)) {
                continue;
            }
            let turn = if canvas.style == Style::Plain { 0.0 } else { between(rng, -1.0, 1.0) * look.shape.turn() };
            let aspect = between(rng, 1.6, 2.1);
            let aspect = if chance(rng, 0.5) { aspect } else { 1.0 / aspect };
            let [a, b] = look.color.ends();
            let mix = between(rng, 0.0, 1.0);
            let rgb = std::array::from_fn(|i| a[i] + (b[i] - a[i]) * mix);
            let object = Object::new(look, rgb, at, radius, turn, aspect)?;
            // The box's middle, which words speak of, may lie a little beside the point that was drawn.
            if !(spoken && is_between_places(object.center(), canvas.size)) {
                break (object, at);
            }
        };
        objects.push(object);
    }
    Some(objects.into_iter().map(|(object, _)| object).collect())
}
