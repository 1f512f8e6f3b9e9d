//! Squared paper on which figures and charts are drawn, lit as the scenes are.

use image::RgbImage;
use rand::Rng;
use tiny_skia::{FillRule, Paint, PathBuilder, Pixmap, Shader, Stroke, Transform};

use super::chance::{Stream, between};
use super::draw::{Rgb, background, color, lamps, paint, to_rgb};
use super::object::Color;
use super::scene::{Canvas, Style};

/// How dark a line of the paper is, from 0 to 1.
const FAINT: f32 = 0.12;

/// A sheet that is being drawn on; lengths are pixels of 112.
#[derive(Debug)]
pub(crate) struct Sheet {
    pixmap: Pixmap,
    unit: f32,
}

impl Sheet {
    pub(crate) fn new(rng: &mut Stream, canvas: Canvas) -> Self {
        let mut pixmap = Pixmap::new(canvas.size, canvas.size).expect("Scenes::get refuses a size of 0");
        background(rng, &mut pixmap, Style::Rich);
        Self { pixmap, unit: canvas.size as f32 / 112.0 }
    }

    /// A faint line of the paper.
    pub(crate) fn rule(&mut self, from: (f32, f32), to: (f32, f32)) {
        self.line(from, to, ink(FAINT), 1.0);
    }

    /// A dark line.
    pub(crate) fn base(&mut self, from: (f32, f32), to: (f32, f32)) {
        self.line(from, to, ink(0.8), 2.0);
    }

    fn line(&mut self, from: (f32, f32), to: (f32, f32), paint: Paint<'_>, width: f32) {
        let mut path = PathBuilder::new();
        path.move_to(from.0, from.1);
        path.line_to(to.0, to.1);
        if let Some(path) = path.finish() {
            let stroke = Stroke { width, ..Stroke::default() };
            self.pixmap.stroke_path(&path, &paint, &stroke, self.scale(), None);
        }
    }

    /// A figure with a thick outline.
    pub(crate) fn figure(&mut self, corners: &[(f32, f32)], rgb: Rgb) {
        let mut path = PathBuilder::new();
        for (i, &(x, y)) in corners.iter().enumerate() {
            if i == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
        }
        path.close();
        let Some(path) = path.finish() else { return };
        let fill = paint(Shader::SolidColor(color(rgb)));
        self.pixmap.fill_path(&path, &fill, FillRule::Winding, self.scale(), None);
        let dark = paint(Shader::SolidColor(color(rgb.map(|v| v * 0.5))));
        let stroke = Stroke { width: 2.0, ..Stroke::default() };
        self.pixmap.stroke_path(&path, &dark, &stroke, self.scale(), None);
    }

    /// The pixels, lit and with grain.
    pub(crate) fn finish(mut self, rng: &mut Stream) -> RgbImage {
        lamps(&mut self.pixmap);
        let grain = between(rng, 0.0, 5.0);
        to_rgb(self.pixmap, grain, rng.next_u64())
    }

    fn scale(&self) -> Transform {
        Transform::from_scale(self.unit, self.unit)
    }
}

fn ink(strength: f32) -> Paint<'static> {
    let color = tiny_skia::Color::from_rgba(0.0, 0.0, 0.0, strength).expect("a strength is from 0 to 1");
    paint(Shader::SolidColor(color))
}

/// A shade of a colour.
pub(crate) fn shade(rng: &mut Stream, color: Color) -> Rgb {
    let [a, b] = color.ends();
    let mix = between(rng, 0.0, 1.0);
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * mix)
}
