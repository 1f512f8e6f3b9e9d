//! Pillow's resizing, to the last bit: weights of 22 bits, one direction after the other, 8 bits between. Which comes first is as in
//! Pillow 13: columns, where more than twice as many lines go as columns of pixels; before that it was rows nearly always.

use std::sync::OnceLock;

use image::RgbImage;
use pulp::{Arch, Simd, WithSimd};
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

/// Two lines at a time, so that a pixel of both is a vector.
fn along_rows(pixels: &[u8], width: usize, taken: &[Taken]) -> Vec<u8> {
    let mut out = vec![0; pixels.len() / width * taken.len()];
    let lines = out.par_chunks_mut(taken.len() * 6).zip(pixels.par_chunks(width * 6));
    lines.for_each_init(Default::default, |(both, sums): &mut (Vec<[i32; 8]>, Vec<[i32; 8]>), (out, lines)| {
        let (first, second) = lines.split_at(width * 3);
        let (to_first, to_second) = out.split_at_mut(taken.len() * 3);
        both.resize(width, [0; 8]);
        // All eight are kept, lest they be taken one by one.
        sums.resize(taken.len(), [0; 8]);
        widely(
            #[inline(always)]
            || {
                for (at, line) in [(0, first), (4, second)] {
                    for (both, pixel) in both.iter_mut().zip(line.chunks_exact(3)) {
                        both[at..at + 3].iter_mut().zip(pixel).for_each(|(to, level)| *to = i32::from(*level));
                    }
                }
                for (sums, taken) in sums.iter_mut().zip(taken) {
                    *sums = weighed(&both[taken.from..], &taken.weights);
                }
                for (at, line) in [(0, &mut *to_first), (4, &mut *to_second)] {
                    for (to, sums) in line.chunks_exact_mut(3).zip(&*sums) {
                        to.iter_mut().zip(&sums[at..]).for_each(|(to, sum)| *to = level(*sum));
                    }
                }
            },
        );
    });
    out
}

/// Pixels by their weights, and half of what is cut off.
#[inline(always)]
fn weighed(pixels: &[[i32; 8]], weights: &[i32]) -> [i32; 8] {
    let mut sums = [1 << (BITS - 1); 8];
    for (pixel, weight) in pixels.iter().zip(weights) {
        sums.iter_mut().zip(pixel).for_each(|(sum, level)| *sum += level * weight);
    }
    sums
}

/// A stretch of a line at a time, whose sums stay in registers.
fn along_columns(pixels: &[u8], width: usize, taken: &[Taken]) -> Vec<u8> {
    const STRETCH: usize = 32;
    let (mut out, length) = (vec![0; width * 3 * taken.len()], width * 3);
    out.par_chunks_mut(length).zip(taken).for_each(|(out, taken)| {
        let lines = &pixels[taken.from * length..];
        widely(
            #[inline(always)]
            || {
                let mut stretches = out.chunks_exact_mut(STRETCH);
                for (at, out) in stretches.by_ref().enumerate() {
                    let mut sums = [1 << (BITS - 1); STRETCH];
                    for (line, weight) in lines.chunks_exact(length).zip(&taken.weights) {
                        for (sum, level) in sums.iter_mut().zip(&line[at * STRETCH..(at + 1) * STRETCH]) {
                            *sum += i32::from(*level) * weight;
                        }
                    }
                    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = level(sum));
                }
                let rest = stretches.into_remainder();
                let from = length - rest.len();
                for (at, out) in rest.iter_mut().enumerate() {
                    let parts = lines.chunks_exact(length).zip(&taken.weights);
                    let parts = parts.map(|(line, weight)| i32::from(line[from + at]) * weight);
                    *out = level(parts.sum::<i32>() + (1 << (BITS - 1)));
                }
            },
        );
    });
    out
}

/// Does `work` by the widest vectors of this processor; the attribute of `work` takes it into the function that is compiled for them.
fn widely(work: impl FnMut()) {
    static WIDEST: OnceLock<Arch> = OnceLock::new();
    WIDEST.get_or_init(Arch::new).dispatch(Wide(work));
}

struct Wide<F>(F);

impl<F: FnMut()> WithSimd for Wide<F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        (self.0)();
    }
}

#[inline(always)]
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
