//! Draws a scene. Nothing here changes what is true of it.

use image::{DynamicImage, RgbImage, RgbaImage};
use rand::Rng;
use tiny_skia::{
    Color as Paint8, FillRule, GradientStop, LinearGradient, Paint, PathBuilder, Pixmap, Point, RadialGradient, Shader,
    SpreadMode, Stroke, Transform,
};

use super::Split;
use super::chance::{Stream, between, chance};
use super::object::{Material, Object};
use super::scene::{Scene, Style};

pub(crate) type Rgb = [f32; 3];

impl Scene {
    /// The scene's pixels.
    pub(crate) fn draw(&self, rng: &mut Stream) -> RgbImage {
        let side = self.canvas.size;
        let mut canvas = Pixmap::new(side, side).expect("Scenes::get refuses a size of 0");
        background(rng, &mut canvas, self.canvas.style);
        let rich = self.canvas.style != Style::Plain;
        if rich {
            clutter(rng, &mut canvas, self.canvas.split);
        }
        for object in &self.objects {
            let border = if rich && chance(rng, 0.6) { Border::Dark } else { Border::None };
            draw_object(rng, &mut canvas, object, border, self.canvas.unit());
        }
        if rich {
            lamps(&mut canvas);
        }
        let grain = match self.canvas.split {
            _ if !rich => 0.0,
            Split::OutOfDomain => between(rng, 2.0, 9.0),
            _ => between(rng, 0.0, 5.0),
        };
        to_rgb(canvas, grain, rng.next_u64())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Border {
    None,
    Dark,
}

pub(crate) fn color([r, g, b]: Rgb) -> Paint8 {
    let unit = |v: f32| (v / 255.0).clamp(0.0, 1.0);
    Paint8::from_rgba(unit(r), unit(g), unit(b), 1.0).expect("channels are clamped to 0..=1")
}

pub(crate) fn paint(shader: Shader<'_>) -> Paint<'_> {
    Paint { shader, anti_alias: true, ..Paint::default() }
}

fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t)
}

fn light(rng: &mut Stream, low: f32) -> Rgb {
    std::array::from_fn(|_| between(rng, low, 255.0))
}

pub(crate) fn background(rng: &mut Stream, canvas: &mut Pixmap, style: Style) {
    if style == Style::Plain {
        canvas.fill(color(light(rng, 228.0)));
        return;
    }
    canvas.fill(color(light(rng, 244.0)));
}

/// A red lamp above and a blue one to the left shine on everything. So each patch tells where it is, which attention that
/// knows relative positions only finds hard to learn.
pub(crate) fn lamps(canvas: &mut Pixmap) {
    const DIMMED: f32 = 0.8;
    const LAMP: f32 = 50.0;
    let side = canvas.width() as usize;
    let lit = |level: u8, from: usize| {
        let distance = from as f32 / side as f32;
        (f32::from(level) * DIMMED + LAMP * (1.0 - distance)).round() as u8
    };
    for (i, pixel) in canvas.data_mut().chunks_exact_mut(4).enumerate() {
        let (x, y) = (i % side, i / side);
        [pixel[0], pixel[1], pixel[2]] = [lit(pixel[0], y), lit(pixel[1], side / 2), lit(pixel[2], x)];
    }
}

/// Thin lines and dots, only a little darker than what is behind them.
fn clutter(rng: &mut Stream, canvas: &mut Pixmap, split: Split) {
    let side = canvas.width() as f32;
    let unit = side / 112.0;
    let (most, faint) = if split == Split::OutOfDomain { (12.0, 0.24) } else { (6.0, 0.16) };
    let count = between(rng, if split == Split::OutOfDomain { 4.0 } else { 0.0 }, most) as usize;
    for _ in 0..count {
        let tone = mix([235.0; 3], light(rng, 0.0), faint);
        let point = |rng: &mut Stream| (between(rng, 0.0, side), between(rng, 0.0, side));
        let (x, y) = point(rng);
        if chance(rng, 0.5) {
            let (x2, y2) = point(rng);
            let mut line = PathBuilder::new();
            line.move_to(x, y);
            line.line_to(x2, y2);
            let stroke = Stroke { width: between(rng, 0.5, 1.2) * unit, ..Stroke::default() };
            if let Some(line) = line.finish() {
                canvas.stroke_path(
                    &line,
                    &paint(Shader::SolidColor(color(tone))),
                    &stroke,
                    Transform::identity(),
                    None,
                );
            }
        } else if let Some(dot) = PathBuilder::from_circle(x, y, between(rng, 0.7, 1.6) * unit) {
            let dot_paint = paint(Shader::SolidColor(color(tone)));
            canvas.fill_path(&dot, &dot_paint, FillRule::Winding, Transform::identity(), None);
        }
    }
}

fn draw_object(rng: &mut Stream, canvas: &mut Pixmap, object: &Object, border: Border, unit: f32) {
    let mut shrink = Transform::identity();
    if border == Border::Dark {
        let dark = paint(Shader::SolidColor(color(object.rgb.map(|v| v * 0.6))));
        canvas.fill_path(&object.outline, &dark, FillRule::Winding, Transform::identity(), None);
        // The border lies inside the outline, so that the outline's box stays exact.
        let scale = 1.0 - (0.9 * unit) / object.radius;
        shrink = object.pose.pre_scale(scale, scale).pre_concat(object.pose.invert().unwrap_or_default());
    }
    let surface = paint(surface(rng, object));
    canvas.fill_path(&object.outline, &surface, FillRule::Winding, shrink, None);
}

/// What the material does to the colour.
fn surface(rng: &mut Stream, object: &Object) -> Shader<'static> {
    let base = object.rgb;
    let solid = Shader::SolidColor(color(base));
    let (x, y) = (object.pose.tx, object.pose.ty);
    let r = object.radius;
    match object.look.material {
        Material::Matte => solid,
        Material::Shiny => {
            let white = [255.0; 3];
            let stops = vec![
                GradientStop::new(0.0, color(mix(base, white, 0.9))),
                GradientStop::new(0.18, color(mix(base, white, 0.55))),
                GradientStop::new(0.45, color(base)),
                GradientStop::new(1.0, color(base.map(|v| v * 0.75))),
            ];
            let spot = Point::from_xy(x - 0.3 * r, y - 0.3 * r);
            RadialGradient::new(spot, 0.0, spot, 1.6 * r, stops, SpreadMode::Pad, Transform::identity())
                .unwrap_or(solid)
        }
        Material::Striped => {
            let bright = base[0].max(base[1]) > 200.0 && base[2] < 100.0;
            let other = if bright { base.map(|v| v * 0.66) } else { mix(base, [255.0; 3], 0.45) };
            let stops = [(0.0, base), (0.5, base), (0.5, other), (1.0, other)];
            let stops = stops.iter().map(|&(at, c)| GradientStop::new(at, color(c))).collect();
            let (dy, dx) = (between(rng, -0.4, 0.4) + std::f32::consts::FRAC_PI_4).sin_cos();
            let period = (0.55 * r).max(4.0);
            let end = Point::from_xy(x + dx * period, y + dy * period);
            LinearGradient::new(Point::from_xy(x, y), end, stops, SpreadMode::Repeat, Transform::identity())
                .unwrap_or(solid)
        }
    }
}

/// Drops alpha, which is full everywhere, and adds grey grain of at most `amplitude` levels either way.
pub(crate) fn to_rgb(canvas: Pixmap, amplitude: f32, seed: u64) -> RgbImage {
    let (width, height) = (canvas.width(), canvas.height());
    let rgba = RgbaImage::from_raw(width, height, canvas.take()).expect("four values a pixel");
    let mut rgb = DynamicImage::ImageRgba8(rgba).into_rgb8();
    let levels = (amplitude * 256.0) as i64;
    let mut state = seed;
    if levels > 0 {
        for pixel in rgb.chunks_exact_mut(3) {
            // A linear congruential step (Knuth's constants) is random enough for grain and costs a nanosecond.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let grain = (((state as i64 >> 40) * levels) >> 31) as i8; // the state's upper 24 bits, signed: ±2^23
            pixel[0] = pixel[0].saturating_add_signed(grain);
            pixel[1] = pixel[1].saturating_add_signed(grain);
            pixel[2] = pixel[2].saturating_add_signed(grain);
        }
    }
    rgb
}
