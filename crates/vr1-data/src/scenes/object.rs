//! What a scene is made of: shapes, colours, sizes, materials, and one object with its outline and place.

use serde_json::{Value, json};
use tiny_skia::{Path, PathBuilder, Transform};

/// The outline of an object. The first five are in domain, the others out of domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Circle,
    Square,
    Triangle,
    Rectangle,
    Diamond,
    Star,
    Cross,
    Heart,
}

/// The colour of an object. The first six are in domain, the others out of domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    Red,
    Green,
    Blue,
    Yellow,
    Black,
    Brown,
    Teal,
    Gray,
    Purple,
    Orange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Large,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Material {
    Matte,
    Shiny,
    Striped,
}

impl Shape {
    pub(crate) const ALL: [Self; 8] = [
        Self::Circle,
        Self::Square,
        Self::Triangle,
        Self::Rectangle,
        Self::Diamond,
        Self::Star,
        Self::Cross,
        Self::Heart,
    ];
    pub(crate) const IN_DOMAIN: &[Self] = Self::ALL.split_at(5).0;
    pub(crate) const OUT_OF_DOMAIN: &[Self] = Self::ALL.split_at(5).1;

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Rectangle => "rectangle",
            Self::Diamond => "diamond",
            Self::Star => "star",
            Self::Cross => "cross",
            Self::Heart => "heart",
        }
    }

    pub(crate) fn plural(self) -> String {
        match self {
            Self::Cross => "crosses".to_owned(),
            other => format!("{}s", other.name()),
        }
    }

    /// How far the shape may be turned, in radians either way, and still be what it is called: a square on its corner
    /// is a diamond.
    pub(crate) fn turn(self) -> f32 {
        match self {
            Self::Circle => 0.0,
            Self::Square | Self::Diamond => 0.15,
            Self::Rectangle | Self::Cross => 0.25,
            Self::Triangle | Self::Heart | Self::Star => 0.35,
        }
    }
}

impl Color {
    pub(crate) const ALL: [Self; 10] = [
        Self::Red,
        Self::Green,
        Self::Blue,
        Self::Yellow,
        Self::Black,
        Self::Brown,
        Self::Teal,
        Self::Gray,
        Self::Purple,
        Self::Orange,
    ];
    pub(crate) const IN_DOMAIN: &[Self] = Self::ALL.split_at(6).0;
    pub(crate) const OUT_OF_DOMAIN: &[Self] = Self::ALL.split_at(6).1;

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Yellow => "yellow",
            Self::Black => "black",
            Self::Brown => "brown",
            Self::Teal => "teal",
            Self::Gray => "gray",
            Self::Purple => "purple",
            Self::Orange => "orange",
        }
    }

    /// The two ends of what goes by this name, the first the CSS colour of that name (lime for green).
    pub(crate) fn ends(self) -> [[f32; 3]; 2] {
        match self {
            Self::Red => [[255.0, 0.0, 0.0], [215.0, 25.0, 35.0]],
            Self::Green => [[0.0, 255.0, 0.0], [25.0, 160.0, 45.0]],
            Self::Blue => [[0.0, 0.0, 255.0], [40.0, 85.0, 220.0]],
            Self::Yellow => [[255.0, 255.0, 0.0], [240.0, 215.0, 20.0]],
            Self::Black => [[0.0, 0.0, 0.0], [35.0, 35.0, 35.0]],
            Self::Brown => [[165.0, 42.0, 42.0], [115.0, 70.0, 30.0]],
            Self::Teal => [[0.0, 128.0, 128.0], [20.0, 165.0, 165.0]],
            Self::Gray => [[128.0, 128.0, 128.0], [150.0, 150.0, 150.0]],
            Self::Purple => [[128.0, 0.0, 128.0], [150.0, 60.0, 205.0]],
            Self::Orange => [[255.0, 165.0, 0.0], [240.0, 120.0, 15.0]],
        }
    }
}

impl Size {
    pub(crate) const ALL: [Self; 2] = [Self::Small, Self::Large];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }
}

impl Material {
    pub(crate) const ALL: [Self; 3] = [Self::Matte, Self::Shiny, Self::Striped];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Matte => "matte",
            Self::Shiny => "shiny",
            Self::Striped => "striped",
        }
    }
}

/// What an object is, before it has a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) shape: Shape,
    pub(crate) color: Color,
    pub(crate) size: Size,
    pub(crate) material: Material,
}

impl Look {
    /// `red circle`
    pub(crate) fn name(self) -> String {
        format!("{} {}", self.color.name(), self.shape.name())
    }

    /// `small shiny red circle`
    pub(crate) fn full_name(self) -> String {
        format!("{} {} {}", self.size.name(), self.material.name(), self.name())
    }
}

/// One object of a scene; lengths in pixels.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) look: Look,
    pub(crate) rgb: [f32; 3],
    pub(crate) radius: f32,
    /// The outline, in the image's coordinates.
    pub(crate) outline: Path,
    /// Where the outline's unit shape lies: turned, scaled by `radius`, moved.
    pub(crate) pose: Transform,
    /// `x1, y1, x2, y2` of the outline.
    pub(crate) bounds: [f32; 4],
}

impl Object {
    /// An object at `(x, y)`; none where the outline would be empty.
    pub(crate) fn new(
        look: Look,
        rgb: [f32; 3],
        (x, y): (f32, f32),
        radius: f32,
        turn: f32,
        aspect: f32,
    ) -> Option<Self> {
        let pose = Transform::from_translate(x, y).pre_rotate(turn.to_degrees()).pre_scale(radius, radius);
        let outline = unit_outline(look.shape, aspect)?.transform(pose)?;
        let tight = outline.compute_tight_bounds()?;
        let bounds = [tight.left(), tight.top(), tight.right(), tight.bottom()];
        Some(Self { look, rgb, radius, outline, pose, bounds })
    }

    /// The object with the middle of its bounding box at `(x, y)`; none where that is no place.
    pub(crate) fn moved_to(&self, (x, y): (f32, f32)) -> Option<Self> {
        let (dx, dy) = (x - self.center().0, y - self.center().1);
        let [x1, y1, x2, y2] = self.bounds;
        let outline = self.outline.clone().transform(Transform::from_translate(dx, dy))?;
        let pose = self.pose.post_translate(dx, dy);
        Some(Self { outline, pose, bounds: [x1 + dx, y1 + dy, x2 + dx, y2 + dy], ..*self })
    }

    /// Half the bounding box's width and height.
    pub(crate) fn half_size(&self) -> (f32, f32) {
        let [x1, y1, x2, y2] = self.bounds;
        ((x2 - x1) / 2.0, (y2 - y1) / 2.0)
    }

    /// The middle of the bounding box.
    pub(crate) fn center(&self) -> (f32, f32) {
        let [x1, y1, x2, y2] = self.bounds;
        ((x1 + x2) / 2.0, (y1 + y2) / 2.0)
    }

    /// The smallest box of whole pixels around the outline; `x2` and `y2` are the first pixels outside.
    pub(crate) fn pixel_box(&self) -> [i64; 4] {
        let [x1, y1, x2, y2] = self.bounds;
        [x1.floor() as i64, y1.floor() as i64, x2.ceil() as i64, y2.ceil() as i64]
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "shape": self.look.shape.name(),
            "color": self.look.color.name(),
            "size": self.look.size.name(),
            "material": self.look.material.name(),
            "box": self.pixel_box(),
        })
    }
}

/// The outline around the origin; no point is further than 1.16 from it. `aspect` is a rectangle's width over its
/// height; the other shapes have their own.
fn unit_outline(shape: Shape, aspect: f32) -> Option<Path> {
    match shape {
        Shape::Circle => PathBuilder::from_circle(0.0, 0.0, 1.0),
        Shape::Square => polygon(&[(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]),
        Shape::Triangle => polygon(&[(0.0, -1.0), (1.0, 0.75), (-1.0, 0.75)]),
        Shape::Rectangle => {
            let (w, h) = if aspect >= 1.0 { (0.98, 0.98 / aspect) } else { (0.98 * aspect, 0.98) };
            polygon(&[(-w, -h), (w, -h), (w, h), (-w, h)])
        }
        Shape::Diamond => polygon(&[(0.0, -1.15), (0.75, 0.0), (0.0, 1.15), (-0.75, 0.0)]),
        Shape::Star => {
            let point = |i: usize| {
                let (angle, r) = (std::f32::consts::PI * i as f32 / 5.0, if i.is_multiple_of(2) { 1.15 } else { 0.5 });
                (r * angle.sin(), -r * angle.cos())
            };
            polygon(&std::array::from_fn::<_, 10, _>(point))
        }
        Shape::Cross => {
            let (a, b) = (1.0, 0.36);
            polygon(&[
                (-b, -a),
                (b, -a),
                (b, -b),
                (a, -b),
                (a, b),
                (b, b),
                (b, a),
                (-b, a),
                (-b, b),
                (-a, b),
                (-a, -b),
                (-b, -b),
            ])
        }
        Shape::Heart => {
            let mut path = PathBuilder::new();
            path.move_to(0.0, 1.0);
            path.cubic_to(-0.5, 0.6, -1.05, 0.2, -1.05, -0.3);
            path.cubic_to(-1.05, -1.05, -0.15, -1.1, 0.0, -0.45);
            path.cubic_to(0.15, -1.1, 1.05, -1.05, 1.05, -0.3);
            path.cubic_to(1.05, 0.2, 0.5, 0.6, 0.0, 1.0);
            path.close();
            path.finish()
        }
    }
}

fn polygon(points: &[(f32, f32)]) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (i, &(x, y)) in points.iter().enumerate() {
        if i == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
    }
    path.close();
    path.finish()
}
