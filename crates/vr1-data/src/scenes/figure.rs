//! A figure on squared paper, and what it measures.

use rand::RngExt;

use super::chance::{Stream, chance, pick};

/// A figure, `w` cells wide and `h` high. The last two are out of domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Rectangle {
        w: u32,
        h: u32,
    },
    Square {
        w: u32,
    },
    Triangle {
        w: u32,
        h: u32,
    },
    /// A rectangle without a corner of `a` x `b`.
    Corner {
        w: u32,
        h: u32,
        a: u32,
        b: u32,
    },
    /// Its sides lean over by `lean` cells; its base is the rest of its width.
    Parallelogram {
        w: u32,
        h: u32,
        lean: u32,
    },
}

/// What is asked of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Area,
    Perimeter,
    Leg(Side),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Horizontal,
    Vertical,
}

impl Figure {
    /// A figure and what to ask of it, of the usual kinds or the others.
    pub(crate) fn draw(rng: &mut Stream, is_other: bool) -> (Self, Asked) {
        let mut side = |low: u32| rng.random_range(low..=6);
        let (w, h, upper_w, upper_h) = (side(1), side(1), side(2), side(2));
        let unequal = if w == h { w % 6 + 1 } else { h };
        match (is_other, rng.random_range(0..6)) {
            (true, 0..3) => {
                let (w, h) = (upper_w, upper_h);
                let (a, b) = (rng.random_range(1..w), rng.random_range(1..h));
                (Self::Corner { w, h, a, b }, if chance(rng, 0.7) { Asked::Area } else { Asked::Perimeter })
            }
            (true, _) => {
                let lean = rng.random_range(1..=2.min(upper_w - 1));
                (Self::Parallelogram { w: upper_w, h, lean }, Asked::Area)
            }
            (false, 0 | 1) => (Self::Rectangle { w, h: unequal }, Asked::Area),
            (false, 2) => (Self::Rectangle { w, h: unequal }, Asked::Perimeter),
            (false, 3) => (Self::Square { w }, Asked::Area),
            (false, 4) => {
                let h = if w * unequal % 2 == 0 { unequal } else { unequal + 1 }; // the area is a whole number
                (Self::Triangle { w, h }, Asked::Area)
            }
            (false, _) => {
                (Self::Triangle { w, h: unequal }, Asked::Leg(pick(rng, &[Side::Horizontal, Side::Vertical])))
            }
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rectangle { .. } => "rectangle",
            Self::Square { .. } => "square",
            Self::Triangle { .. } => "triangle",
            Self::Corner { .. } => "L-shape",
            Self::Parallelogram { .. } => "parallelogram",
        }
    }

    /// Its width and height.
    pub(crate) fn size(self) -> (u32, u32) {
        match self {
            Self::Square { w } => (w, w),
            Self::Rectangle { w, h }
            | Self::Triangle { w, h }
            | Self::Corner { w, h, .. }
            | Self::Parallelogram { w, h, .. } => (w, h),
        }
    }

    /// What follows, step by step, and the number.
    pub(crate) fn solve(self, asked: Asked) -> (String, u32) {
        let (w, h) = self.size();
        let seen = format!("{w} wide; {h} high.");
        match (self, asked) {
            (_, Asked::Leg(Side::Horizontal)) => (format!("{seen} So {w}."), w),
            (_, Asked::Leg(Side::Vertical)) => (format!("{seen} So {h}."), h),
            (_, Asked::Perimeter) => {
                (format!("{seen} {w} + {h} = {}. 2 * {} = {}.", w + h, w + h, 2 * (w + h)), 2 * (w + h))
            }
            (Self::Triangle { .. }, _) => {
                (format!("{seen} {w} * {h} = {}. {} / 2 = {}.", w * h, w * h, w * h / 2), w * h / 2)
            }
            (Self::Corner { a, b, .. }, _) => {
                let (all, hole) = (w * h, a * b);
                let steps = format!("{w} * {h} = {all}. {a} * {b} = {hole}. {all} - {hole} = {}.", all - hole);
                (format!("{seen} The corner: {a} wide; {b} high. {steps}"), all - hole)
            }
            (Self::Parallelogram { lean, .. }, _) => {
                let base = w - lean;
                (format!("base {base}; {h} high. {base} * {h} = {}.", base * h), base * h)
            }
            _ => (format!("{seen} {w} * {h} = {}.", w * h), w * h),
        }
    }

    /// Its corners in cells from its top left.
    pub(crate) fn corners(self) -> Vec<(u32, u32)> {
        let (w, h) = self.size();
        match self {
            Self::Triangle { .. } => vec![(0, 0), (0, h), (w, h)],
            Self::Corner { a, b, .. } => vec![(0, 0), (w - a, 0), (w - a, b), (w, b), (w, h), (0, h)],
            Self::Parallelogram { lean, .. } => vec![(lean, 0), (w, 0), (w - lean, h), (0, h)],
            _ => vec![(0, 0), (w, 0), (w, h), (0, h)],
        }
    }
}

impl Asked {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Area => "area",
            Self::Perimeter => "perimeter",
            Self::Leg(Side::Horizontal) => "horizontal leg",
            Self::Leg(Side::Vertical) => "vertical leg",
        }
    }

    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Leg(_) => "leg",
            other => other.name(),
        }
    }
}
