//! Curves as SVG, drawn by plotters. SVG leaves the letters to the viewer, so no font library is needed.

use std::{ops::Range, path::Path};

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{disk::write_aside, run_error::RunError};

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// A line from point to point.
    Line,
    /// The points faintly, and over them a line through their moving mean.
    Smoothed,
    /// Dots alone: a measurement now and then.
    Points,
}

/// Points under one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// `(x, y)` with rising `x`; points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// How to draw them.
    pub stroke: Stroke,
}

/// Writes a plot of some series as an SVG file.
///
/// # Errors
/// The file cannot be written.
pub fn plot(series: &[Series], title: &str, x_label: &str, y_label: &str, path: &Path) -> Result<(), RunError> {
    write_aside(path, plot_svg(series, title, x_label, y_label)?.as_bytes())
}

/// A plot of some series as SVG text, for embedding.
///
/// # Errors
/// The drawing library refuses; no input is known that makes it.
pub fn plot_svg(series: &[Series], title: &str, x_label: &str, y_label: &str) -> Result<String, RunError> {
    let mut svg = String::new();
    let finite = |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
    let series: Vec<Series> = series
        .iter()
        .map(|one| Series { points: one.points.iter().copied().filter(finite).collect(), ..one.clone() })
        .filter(|one| !one.points.is_empty())
        .collect();
    let canvas = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw(&canvas, &series, title, x_label, y_label)
        .and_then(|()| canvas.present())
        .map_err(|error| RunError::Encode { path: title.into(), reason: error.to_string() })?;
    drop(canvas);
    Ok(svg)
}

const SIZE: (u32, u32) = (720, 400);
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
/// Okabe and Ito's colours: told apart by colour-blind readers too.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x55, 0x55, 0x55),
];

type Canvas<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>>;

fn draw(canvas: &Canvas<'_>, series: &[Series], title: &str, x_label: &str, y_label: &str) -> Drawn {
    let all = || series.iter().flat_map(|one| one.points.iter().copied());
    let (xs, ys) = (span(all().map(|(x, _)| x), 0.02), span(all().map(|(_, y)| y), 0.08));
    canvas.fill(&WHITE)?;
    // One curve under its own name needs no legend.
    let rows = if matches!(series, [only] if only.name == title) { Vec::new() } else { legend_rows(series) };
    let (head, body) = canvas.split_vertically(34 + 18 * rows.len() as i32);
    head.draw(&Text::new(title.to_owned(), (14, 10), ("sans-serif", 19).into_font().color(&INK)))?;
    legend(&head, &rows)?;
    let mut chart = ChartBuilder::on(&body)
        .margin(10)
        .margin_right(20)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(xs.clone(), ys.clone())?;
    chart
        .configure_mesh()
        .x_labels(8)
        .y_labels(6)
        .x_desc(x_label)
        .y_desc(y_label)
        .x_label_formatter(&|value| tick(*value, &xs))
        .y_label_formatter(&|value| tick(*value, &ys))
        .label_style(("sans-serif", 14).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 15).into_font().color(&INK))
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK.mix(0.6))
        .draw()?;
    for (index, one) in series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        match one.stroke {
            Stroke::Line => drop(chart.draw_series(LineSeries::new(one.points.clone(), colour.stroke_width(2)))?),
            Stroke::Smoothed => {
                chart.draw_series(LineSeries::new(one.points.clone(), colour.mix(0.25).stroke_width(1)))?;
                chart.draw_series(LineSeries::new(moving_mean(&one.points), colour.stroke_width(2)))?;
            }
            Stroke::Points => {
                chart.draw_series(one.points.iter().map(|&at| Circle::new(at, 5, colour.filled())))?;
            }
        }
    }
    Ok(())
}

type Entry<'s> = (&'s Series, RGBColor, i32);

/// The legend stands above the plot, where it hides nothing; names are laid out in rows by their length.
fn legend_rows(series: &[Series]) -> Vec<Vec<Entry<'_>>> {
    let mut rows: Vec<Vec<Entry<'_>>> = Vec::new();
    let mut x = i32::MAX;
    for (index, one) in series.iter().enumerate() {
        let width = 44 + 7 * one.name.chars().count() as i32;
        if x.saturating_add(width) > SIZE.0 as i32 {
            rows.push(Vec::new());
            x = 16;
        }
        rows.last_mut().into_iter().for_each(|row| row.push((one, COLOURS[index % COLOURS.len()], x)));
        x += width;
    }
    rows
}

fn legend(head: &Canvas<'_>, rows: &[Vec<Entry<'_>>]) -> Drawn {
    for (row, entries) in rows.iter().enumerate() {
        let y = 42 + 18 * row as i32;
        for &(one, colour, x) in entries {
            match one.stroke {
                Stroke::Points => head.draw(&Circle::new((x + 10, y), 5, colour.filled()))?,
                _ => head.draw(&PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(3)))?,
            }
            let style = ("sans-serif", 14).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
            head.draw(&Text::new(one.name.clone(), (x + 26, y), style))?;
        }
    }
    Ok(())
}

/// From the least to the greatest value with some room on both sides; a range of its own for no or equal values.
fn span(values: impl Iterator<Item = f64>, room: f64) -> Range<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return 0.0..1.0;
    }
    // Halved first: the difference of two finite numbers need not be finite.
    let size = (high / 2.0 - low / 2.0) * 2.0;
    let room = if size > 0.0 { size * room } else { (low.abs() * 0.1).max(0.5) };
    (low - room).max(f64::MIN / 4.0)..(high + room).min(f64::MAX / 4.0)
}

/// A number with the decimals that its axis needs.
fn tick(value: f64, axis: &Range<f64>) -> String {
    let size = axis.end - axis.start;
    let greatest = axis.start.abs().max(axis.end.abs());
    // The grid's zero may be a rounding error away from it.
    if value.abs() < 1e-9 * size {
        return "0".into();
    }
    if !(1e-3..1e6).contains(&greatest) {
        return format!("{value:.1e}");
    }
    let digits = (2.0 - size.log10()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

/// The mean over a window of a tenth of the points, cut off at both ends.
fn moving_mean(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let half = (points.len() / 20).max(2);
    let mean = |(index, &(x, _)): (usize, &(f64, f64))| {
        let window = &points[index.saturating_sub(half)..points.len().min(index + half + 1)];
        (x, window.iter().map(|&(_, y)| y / window.len() as f64).sum())
    };
    points.iter().enumerate().map(mean).collect()
}
