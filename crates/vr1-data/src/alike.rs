//! What is nearly the same: texts by the pieces they are made of, pictures by how they look when small.

use std::hash::{DefaultHasher, Hash, Hasher};

use image::RgbImage;
use image::imageops::{FilterType, grayscale, resize};

/// How many permutations a text's sketch has, and how many of them make a band.
const PERMUTATIONS: usize = 64;
const BAND: usize = 8;

/// How many characters a piece of a text has.
const PIECE: usize = 5;

/// A sketch of a text (MinHash): of two the share of pieces of five characters that they have in common can be told, whatever their
/// case and punctuation. Numbers have to be the same.
///
/// ```
/// use vr1_data::TextSketch;
///
/// let [one, same, other] = ["How many red cubes are left of the sphere?", "how many red cubes are left of  the sphere", "Is the sphere blue?"]
///     .map(TextSketch::of);
/// assert_eq!(one.alike(&same), 1.0);
/// assert!(one.alike(&other) < 0.3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextSketch {
    least: [u8; PERMUTATIONS],
    bands: [u32; PERMUTATIONS / BAND],
    numbers: u32,
}

impl TextSketch {
    /// The sketch of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let letters: Vec<char> = normalised(text).chars().collect();
        let mut least = [u32::MAX; PERMUTATIONS];
        for piece in letters.windows(PIECE.min(letters.len()).max(1)) {
            let hash = hashed(&piece);
            for (i, least) in least.iter_mut().enumerate() {
                *least = (*least).min(permuted(hash, i as u64));
            }
        }
        let bands = std::array::from_fn(|i| hashed(&(i, &least[i * BAND..(i + 1) * BAND])) as u32);
        let digits = |c: char| if c.is_ascii_digit() { c } else { ' ' };
        let numbers: String = text.chars().map(digits).collect();
        let numbers: Vec<&str> = numbers.split_ascii_whitespace().collect();
        Self { least: least.map(|least| least as u8), bands, numbers: hashed(&numbers) as u32 }
    }

    /// The share of pieces that two texts have in common, to some hundredths; 0 where their numbers differ.
    #[must_use]
    pub fn alike(&self, other: &Self) -> f64 {
        if self.numbers != other.numbers {
            return 0.0;
        }
        let same = self.least.iter().zip(other.least).filter(|(a, b)| **a == *b).count() as f64;
        // One of 256 agrees by chance.
        ((same / PERMUTATIONS as f64 - 1.0 / 256.0) / (1.0 - 1.0 / 256.0)).max(0.0)
    }

    /// Keys of which two texts that are alike have one in common: where nine tenths of the pieces are the same, in 99 of 100 cases.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        self.bands.iter().map(|band| u64::from(*band) << 32 | u64::from(self.numbers))
    }
}

/// A text in small letters without punctuation, with one space between words.
fn normalised(text: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() { c } else { ' ' };
    let text: String = text.chars().map(plain).flat_map(char::to_lowercase).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn hashed(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A hash under one of many permutations (multiply and shift, odd multipliers).
fn permuted(hash: u64, which: u64) -> u32 {
    let multiplier = (which + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (hash.wrapping_mul(multiplier) >> 32) as u32
}

/// How a picture looks when it is small: where it grows brighter from left to right, in 16 × 16 places, and its colours in 8 × 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureSketch {
    slopes: [u16; 16],
    colours: [u8; 192],
}

/// So many slopes may differ of pictures that look the same, and so much their colours on average.
const SLOPES: u32 = 10;
const COLOURS: f64 = 6.0;

impl PictureSketch {
    /// The sketch of a picture's pixels.
    #[must_use]
    pub fn of(pixels: &RgbImage) -> Self {
        let grey = grayscale(&resize(pixels, 17, 16, FilterType::Triangle));
        let brighter = |row: u32, column: u32| grey.get_pixel(column + 1, row).0[0] > grey.get_pixel(column, row).0[0];
        let line = |row: u32| (0..16).fold(0, |line, column| line << 1 | u16::from(brighter(row, column)));
        let colours = resize(pixels, 8, 8, FilterType::Triangle);
        Self {
            slopes: std::array::from_fn(|row| line(row as u32)),
            colours: std::array::from_fn(|i| colours.as_raw().get(i).copied().unwrap_or_default()),
        }
    }

    /// Whether two pictures look the same: at another size or quality, a little brighter.
    #[must_use]
    pub fn alike(&self, other: &Self) -> bool {
        let slopes: u32 = self.slopes.iter().zip(other.slopes).map(|(a, b)| (a ^ b).count_ones()).sum();
        let apart: u32 = self.colours.iter().zip(other.colours).map(|(a, b)| u32::from(a.abs_diff(b))).sum();
        slopes <= SLOPES && f64::from(apart) / 192.0 <= COLOURS
    }

    /// Keys of which two that look the same have at least six in common.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        self.slopes.iter().enumerate().map(|(line, slopes)| (line as u64) << 16 | u64::from(*slopes))
    }
}
