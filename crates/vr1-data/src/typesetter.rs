use std::fmt;
use std::sync::{Mutex, PoisonError};

use cosmic_text::{Attrs, Buffer, Family, FontSystem, Metrics, Shaping, SwashCache, SwashContent, SwashImage, Wrap};
use image::{Rgb, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::typefaces::Typefaces;
use crate::{Error, Lettering, MAX_PIXELS, Result};

/// Draws text as a [`Lettering`] says.
///
/// ```
/// use vr1_data::{Lettering, Spread, Typesetter};
///
/// let typesetter = Typesetter::new(&Lettering { width: Spread { least: 224, most: 448 }, ..Lettering::default() })?;
/// let picture = typesetter.draw("How many apples are left?", 7, 0)?;
/// assert!((224..=448).contains(&picture.width()));
/// assert_eq!(picture, typesetter.draw("How many apples are left?", 7, 0)?);
/// # Ok::<(), vr1_data::Error>(())
/// ```
pub struct Typesetter {
    lettering: Lettering,
    typefaces: Typefaces,
    /// Presses that nobody works at: as many as there were threads at a time.
    idle: Mutex<Vec<Press>>,
}

/// What one thread sets text with.
struct Press {
    system: FontSystem,
    glyphs: SwashCache,
}

impl fmt::Debug for Typesetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typesetter").field("lettering", &self.lettering).finish_non_exhaustive()
    }
}

/// The look of one picture.
struct Look {
    face: String,
    width: u32,
    font_size: f32,
    margin: f32,
    line_height: f32,
    background: [u8; 3],
    ink: [u8; 3],
}

/// Marks of letters and where their upper left corners are.
type Mark = (i64, i64, SwashImage);

impl Typesetter {
    /// Reads the files of typefaces.
    ///
    /// # Errors
    /// When a setting cannot work, or a file is missing or has no face that can be read.
    pub fn new(lettering: &Lettering) -> Result<Self> {
        lettering.validate()?;
        let typefaces = Typefaces::open(&lettering.fonts)?;
        Ok(Self { lettering: lettering.clone(), typefaces, idle: Mutex::default() })
    }

    /// A picture of `text`, broken into lines where the Unicode rules allow it; what the settings leave open depends on
    /// `(seed, index)` alone.
    ///
    /// # Errors
    /// When no face has a character, which is named, or a character or the whole text is too large for a picture.
    pub fn draw(&self, text: &str, seed: u64, index: usize) -> Result<RgbImage> {
        let waiting = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut press = waiting.unwrap_or_else(|| Press { system: self.typefaces.system(), glyphs: SwashCache::new() });
        let drawn = press.draw(text, &self.look(seed, index));
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(press);
        drawn.map_err(|reason| Error::Text { what: beginning(text), reason })
    }

    fn look(&self, seed: u64, index: usize) -> Look {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&(index as u64).to_le_bytes());
        key[16..25].copy_from_slice(b"lettering");
        let stream = &mut ChaCha8Rng::from_seed(key);
        let Lettering { fonts: _, width, font_size, margin, line_height, background, ink } = &self.lettering;
        let face = Typefaces::family(stream.random_range(0..self.typefaces.choices));
        let (width, font_size) = (width.draw(stream), font_size.draw(stream));
        let (margin, line_height) = (margin.draw(stream) * font_size, line_height.draw(stream) * font_size);
        let background = [(); 3].map(|()| background.draw(stream));
        let ink = [(); 3].map(|()| ink.draw(stream));
        Look { face, width, font_size, margin, line_height, background, ink }
    }
}

impl Press {
    fn draw(&mut self, text: &str, look: &Look) -> Result<RgbImage, String> {
        let (marks, text_height) = self.marks(text, look)?;
        // Accents and tails may reach over the first and the last line.
        let top = marks.iter().map(|(_, y, _)| *y).min().unwrap_or(0).min(0);
        let bottom = marks.iter().map(|(_, y, mark)| y + i64::from(mark.placement.height)).max().unwrap_or(0);
        let height = bottom.max((text_height + 2.0 * look.margin).ceil() as i64) - top;
        if u64::from(look.width) * height as u64 > MAX_PIXELS {
            return Err(format!(
                "its picture would have {} x {height} pixels, and {MAX_PIXELS} are the most",
                look.width
            ));
        }
        let mut picture = RgbImage::from_pixel(look.width, height as u32, Rgb(look.background));
        for (left, y, mark) in &marks {
            stamp(&mut picture, (*left, y - top), mark, look.ink);
        }
        Ok(picture)
    }

    /// The marks of all letters, and the height of the lines.
    fn marks(&mut self, text: &str, look: &Look) -> Result<(Vec<Mark>, f32), String> {
        let mut lines = Buffer::new_empty(Metrics::new(look.font_size, look.line_height));
        lines.set_wrap(Wrap::WordOrGlyph);
        lines.set_size(Some(look.width as f32 - 2.0 * look.margin), None);
        // Whatever ends a paragraph is an end of line: the library takes each line for one paragraph.
        let text =
            text.replace(['\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'], "\n");
        lines.set_text(&text, &Attrs::new().family(Family::Name(&look.face)), Shaping::Advanced, None);
        lines.shape_until_scroll(&mut self.system, false);
        let (mut marks, mut height) = (Vec::new(), 0.0);
        for run in lines.layout_runs() {
            height = run.line_top + run.line_height;
            for glyph in run.glyphs {
                let character = run.text.get(glyph.start..glyph.end).and_then(|cluster| cluster.chars().next());
                let named =
                    || character.map_or("a character".to_owned(), |c| format!("{c:?} (U+{:04X})", u32::from(c)));
                if glyph.glyph_id == 0 {
                    return Err(format!("no typeface has {}; `fonts` takes files that have it", named()));
                }
                let at = glyph.physical((look.margin, look.margin + run.line_y), 1.0);
                let Some(mark) = self.glyphs.get_image_uncached(&mut self.system, at.cache_key) else { continue };
                if mark.placement.width == 0 || mark.placement.height == 0 {
                    continue; // a space
                }
                let left = i64::from(at.x) + i64::from(mark.placement.left);
                if left < 0 || left + i64::from(mark.placement.width) > i64::from(look.width) {
                    return Err(format!("{} does not fit into a width of {} pixels", named(), look.width));
                }
                marks.push((left, i64::from(at.y) - i64::from(mark.placement.top), mark));
            }
        }
        Ok((marks, height))
    }
}

/// Puts a letter's mark onto a picture: coverage in the colour of the ink, or colours of its own.
fn stamp(picture: &mut RgbImage, (left, top): (i64, i64), mark: &SwashImage, ink: [u8; 3]) {
    let bytes = match mark.content {
        SwashContent::Mask => 1,
        SwashContent::SubpixelMask | SwashContent::Color => 4,
    };
    let columns = mark.placement.width as usize;
    for (i, pixel) in mark.data.chunks_exact(bytes).enumerate() {
        let (colour, cover) = match *pixel {
            [cover] => (ink, cover),
            [r, g, b, a] => ([r, g, b], a),
            _ => continue,
        };
        let (x, y) = (left + (i % columns) as i64, top + (i / columns) as i64);
        let Some(Rgb(under)) = picture.get_pixel_mut_checked(x as u32, y as u32) else { continue };
        for (under, over) in under.iter_mut().zip(colour) {
            let (cover, shown) = (u32::from(cover), u32::from(*under));
            *under = ((u32::from(over) * cover + shown * (255 - cover) + 127) / 255) as u8;
        }
    }
}

/// The first words of a text, in quotes.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}
