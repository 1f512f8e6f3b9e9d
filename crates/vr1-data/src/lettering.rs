use std::fmt::Display;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Spread};

/// How text becomes a picture. What is a [`Spread`] is drawn anew for every sample, so that a model learns to read and
/// not one look of letters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lettering {
    /// Files of typefaces (TTF, OTF, TTC), of which each text is set in any one; without files it is DejaVu Sans, Serif or
    /// Sans Mono. A character that the face lacks is taken from the first of the files that has it, or else from DejaVu,
    /// which has European scripts and mathematics; Chinese, Japanese and Korean want a file.
    pub fonts: Vec<PathBuf>,
    /// Width of the picture in pixels, from 32 to 4096. Its height is what the text takes.
    pub width: Spread<u32>,
    /// Size of the letters in pixels, from 6 to 256.
    pub font_size: Spread<f32>,
    /// Room around the text, as a multiple of `font_size` from 0.25 to 8.
    pub margin: Spread<f32>,
    /// From one line to the next, as a multiple of `font_size` from 1 to 4.
    pub line_height: Spread<f32>,
    /// Red, green and blue of the ground, each drawn by itself from 0 to 255.
    pub background: Spread<u8>,
    /// Red, green and blue of the letters, likewise; at least 64 darker or lighter than the ground.
    pub ink: Spread<u8>,
}

impl Default for Lettering {
    /// Dark letters of 14 to 24 pixels on a light ground 448 pixels wide.
    fn default() -> Self {
        Self {
            fonts: Vec::new(),
            width: Spread::one(448),
            font_size: Spread { least: 14.0, most: 24.0 },
            margin: Spread { least: 0.5, most: 1.5 },
            line_height: Spread { least: 1.2, most: 1.5 },
            background: Spread { least: 215, most: 255 },
            ink: Spread { least: 0, most: 90 },
        }
    }
}

/// How far the least contrast of ink and ground has to go.
const CONTRAST: u8 = 64;

impl Lettering {
    /// Says which setting cannot work.
    ///
    /// # Errors
    /// When a number is out of its bounds, a spread begins above its end, letters would be as good as invisible, or two of the
    /// widest do not fit beside each other.
    pub fn validate(&self) -> Result<()> {
        within("width", self.width, (32, 4096))?;
        within("font_size", self.font_size, (6.0, 256.0))?;
        within("margin", self.margin, (0.25, 8.0))?;
        within("line_height", self.line_height, (1.0, 4.0))?;
        within("background", self.background, (0, 255))?;
        within("ink", self.ink, (0, 255))?;
        let apart = |dark: Spread<u8>, light: Spread<u8>| light.least.saturating_sub(dark.most) >= CONTRAST;
        if !apart(self.ink, self.background) && !apart(self.background, self.ink) {
            let reason = format!("not all {CONTRAST} darker than `background`, nor all {CONTRAST} lighter");
            return Err(Error::setting("lettering.ink", reason));
        }
        let (width, needed) = (self.width.least, self.font_size.most * (2.0 * self.margin.most + 2.0));
        if (width as f32) < needed {
            let reason = format!("{width}, and the greatest `font_size` and `margin` want at least {}", needed.ceil());
            return Err(Error::setting("lettering.width", reason));
        }
        Ok(())
    }
}

fn within<T: PartialOrd + Copy + Display>(key: &str, spread: Spread<T>, (low, high): (T, T)) -> Result<()> {
    let Spread { least, most } = spread;
    let wrong = |reason: String| Err(Error::setting(format!("lettering.{key}"), reason));
    if !(least >= low && most <= high) {
        return wrong(format!("from {least} to {most}, should be within {low} and {high}"));
    }
    if least > most {
        return wrong(format!("from {least} to {most}, should begin with the lesser"));
    }
    Ok(())
}
