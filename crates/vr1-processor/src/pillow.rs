//! Pillow's resizing, to the last bit: weights of 22 bits, one direction after the other, 8 bits between. Which comes first is as in
//! Pillow 13: columns, where more than twice as many lines go as columns of pixels; before that it was rows nearly always.

use image::RgbImage;
use rayon::prelude::*;

use crate::Resample;

/// Bits behind the point in a weight.
const BITS: u32 = 32 - 8 - 2;

/// What one place takes: from where on, and so much of each.
struct Taken {
    from: usize,
    weights: Vec<i32>,
}

/// The image with other sides, neither of them zero.
pub(crate) fn resize(image: &RgbImage, height: usize, width: usize, resample: Resample) -> Vec<u8> {
    let (from_width, from_height) = (image.width() as usize, image.height() as usize);
    let rows = |pixels: &[u8]| along_rows(pixels, from_width, &taken(from_width, width, resample));
    let columns = |pixels: &[u8], width: usize| along_columns(pixels, width, &taken(from_height, height, resample));
    let pixels = image.as_raw();
    let lines_less = from_height as i64 - height as i64;
    let columns_first = lines_less > 0 && lines_less > 2 * (from_width as i64 - width as i64);
    match (from_width == width, from_height == height) {
        (true, true) => pixels.clone(),
        (true, false) => columns(pixels, width),
        (false, true) => rows(pixels),
        (false, false) if columns_first => rows(&columns(pixels, from_width)),
        (false, false) => columns(&rows(pixels), width),
    }
}

fn along_rows(pixels: &[u8], width: usize, taken: &[Taken]) -> Vec<u8> {
    let mut out = vec![0; pixels.len() / width * taken.len()];
    out.par_chunks_mut(taken.len() * 3).zip(pixels.par_chunks(width * 3)).for_each(|(out, row)| {
        for (out, taken) in out.chunks_exact_mut(3).zip(taken) {
            let mut sums = [1 << (BITS - 1); 3];
            for (pixel, weight) in row[taken.from * 3..].chunks_exact(3).zip(&taken.weights) {
                for (sum, level) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*level) * weight;
                }
            }
            out.copy_from_slice(&sums.map(level));
        }
    });
    out
}

fn along_columns(pixels: &[u8], width: usize, taken: &[Taken]) -> Vec<u8> {
    let mut out = vec![0; width * 3 * taken.len()];
    out.par_chunks_mut(width * 3).zip(taken).for_each(|(out, taken)| {
        let mut sums = vec![1 << (BITS - 1); width * 3];
        for (row, weight) in pixels[taken.from * width * 3..].chunks_exact(width * 3).zip(&taken.weights) {
            for (sum, level) in sums.iter_mut().zip(row) {
                *sum += i32::from(*level) * weight;
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = level(sum);
        }
    });
    out
}

fn level(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// What each of `to` places takes of `from`; where there are fewer, the filter is as much wider.
fn taken(from: usize, to: usize, resample: Resample) -> Vec<Taken> {
    let scale = from as f64 / to as f64;
    let widened = scale.max(1.0);
    let support = radius(resample) * widened;
    let place = |place: usize| {
        let center = (place as f64 + 0.5) * scale;
        let first = ((center - support + 0.5) as usize).min(from - 1);
        let end = ((center + support + 0.5) as usize).clamp(first + 1, from);
        let weight = |at: usize| filter(resample, (at as f64 - center + 0.5) * (1.0 / widened));
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: &f64| {
            let share = if sum == 0.0 { *weight } else { weight / sum } * f64::from(1 << BITS);
            // Rounded away from zero, as a cast cuts towards it.
            (share + 0.5f64.copysign(share)) as i32
        };
        Taken { from: first, weights: weights.iter().map(fixed).collect() }
    };
    (0..to).map(place).collect()
}

fn radius(resample: Resample) -> f64 {
    match resample {
        Resample::Bilinear => 1.0,
        Resample::Bicubic => 2.0,
        Resample::Lanczos => 3.0,
    }
}

fn filter(resample: Resample, x: f64) -> f64 {
    let distance = x.abs();
    match resample {
        _ if distance >= radius(resample) => 0.0,
        Resample::Bilinear => 1.0 - distance,
        // Keys' cubic with a = -0.5.
        Resample::Bicubic if distance < 1.0 => (1.5 * distance - 2.5) * distance * distance + 1.0,
        Resample::Bicubic => (((distance - 5.0) * distance + 8.0) * distance - 4.0) * -0.5,
        Resample::Lanczos => sinc(x) * sinc(x / 3.0),
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let angle = x * std::f64::consts::PI;
    angle.sin() / angle
}
