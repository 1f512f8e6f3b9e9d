use image::RgbImage;
use ndarray::Array2;
use serde_json::Value;

use crate::resize::{resize, resize_as_pillow};
use crate::settings::Settings;
use crate::{Error, Patches, Resample, Result, Tiles};

/// Whose arithmetic pixels go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    /// transformers' default: weights of 16 bits, scale and mean folded into one.
    Torchvision,
    /// That of its classes whose names end in `Pil`, and of those that resize by Lanczos: weights of 22 bits, one step after the
    /// other.
    Pillow,
}

/// How pictures get other sizes, and grey levels become values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pixels {
    pub(crate) library: Library,
    pub(crate) resample: Resample,
    /// What levels are multiplied by, where they are.
    pub(crate) rescale: Option<f64>,
    /// Mean and deviation of each channel that are taken off, where they are.
    pub(crate) normalize: Option<[[f64; 3]; 2]>,
}

/// Mean and deviation of CLIP's pictures.
pub(crate) const CLIP: [[f64; 3]; 2] =
    [[0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_58, 0.275_777_11]];
/// Those that take levels to -1..1.
pub(crate) const HALVES: [[f64; 3]; 2] = [[0.5; 3], [0.5; 3]];

/// The most pixels that a picture is resized to.
pub(crate) const MAX_AREA: u64 = 1 << 27;

impl Pixels {
    /// What the settings say, and what a class has where they say nothing.
    pub(crate) fn read(settings: &Settings<'_>, resample: Resample, normalize: [[f64; 3]; 2]) -> Result<Self> {
        let resample = settings.resample(resample)?;
        let of_pillow =
            settings.get("image_processor_type").and_then(Value::as_str).is_some_and(|k| k.ends_with("Pil"));
        let [mean, std] = normalize;
        let normalize = [settings.channels("image_mean", mean)?, settings.channels("image_std", std)?];
        if let Some(std) = normalize[1].iter().find(|std| **std <= 0.0) {
            return settings.wrong("image_std", format!("{std} is not above zero"));
        }
        let factor = settings.positive("rescale_factor", 1.0 / 255.0)?;
        Ok(Self {
            library: if of_pillow || resample == Resample::Lanczos { Library::Pillow } else { Library::Torchvision },
            resample,
            rescale: settings.flag("do_rescale", true)?.then_some(factor),
            normalize: settings.flag("do_normalize", true)?.then_some(normalize),
        })
    }

    /// The sides of a picture that is to be resized to them: neither none nor too many pixels.
    pub(crate) fn admit([height, width]: [u32; 2]) -> Result<[u32; 2]> {
        if height == 0 || width == 0 {
            return Err(Error::EmptyImage { height, width });
        }
        if u64::from(height) * u64::from(width) > MAX_AREA {
            let reason = format!("more than {MAX_AREA} pixels");
            return Err(Error::Resize { height, width, reason });
        }
        Ok([height, width])
    }

    pub(crate) fn resize(&self, image: &RgbImage, sides: [u32; 2]) -> Result<RgbImage> {
        let [height, width] = Self::admit(sides)?;
        match self.library {
            Library::Torchvision => resize(image, height, width, self.resample),
            Library::Pillow => resize_as_pillow(image, height, width, self.resample),
        }
    }

    /// The value of each grey level in each channel.
    pub(crate) fn levels(&self) -> [[f32; 256]; 3] {
        let step_by_step = self.library == Library::Pillow;
        std::array::from_fn(|channel| {
            std::array::from_fn(|level| {
                let scaled = |factor: f64| match step_by_step {
                    true => (level as f64 * factor) as f32,
                    false => level as f32 * factor as f32,
                };
                match (self.normalize, self.rescale) {
                    (None, None) => level as f32,
                    (None, Some(factor)) => scaled(factor),
                    (Some([mean, std]), Some(factor)) if step_by_step => {
                        (scaled(factor) - mean[channel] as f32) / std[channel] as f32
                    }
                    (Some([mean, std]), factor) => {
                        let scale = factor.map_or(1.0, |factor| (1.0 / factor) as f32);
                        (level as f32 - mean[channel] as f32 * scale) / (std[channel] as f32 * scale)
                    }
                }
            })
        })
    }

    /// Tiles of one size, cut into squares of `patch`, from left to right and top to bottom; what is left over at the right and at
    /// the bottom is left out, as a convolution leaves it.
    pub(crate) fn patches(&self, cut: &[RgbImage], patch: usize, tiles: Tiles) -> Patches {
        let levels = self.levels();
        let (width, height) = cut.first().map_or((0, 0), RgbImage::dimensions);
        let (rows, columns) = (height as usize / patch, width as usize / patch);
        let length = patch * patch * 3;
        let mut values = Vec::with_capacity(cut.len() * rows * columns * length);
        for tile in cut {
            let pixels = tile.as_raw();
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                for (channel, levels) in levels.iter().enumerate() {
                    for y in row * patch..(row + 1) * patch {
                        let from = (y * width as usize + column * patch) * 3;
                        let line = pixels[from..from + patch * 3].chunks_exact(3);
                        values.extend(line.map(|pixel| levels[usize::from(pixel[channel])]));
                    }
                }
            }
        }
        let grid_thw = [cut.len(), rows, columns];
        let shape = (grid_thw.iter().product(), length);
        let pixel_values = Array2::from_shape_vec(shape, values).expect("as many values as were laid out");
        Patches { pixel_values, grid_thw, tiles }
    }
}

/// A picture on black of another size, its upper left corner `at` so many lines and columns; what goes beyond is left out.
pub(crate) fn on_black(image: &RgbImage, [height, width]: [u32; 2], at: [u32; 2]) -> RgbImage {
    put_on(RgbImage::new(width, height), image, at)
}

/// A picture on a canvas, its upper left corner `at` so many lines and columns; what goes beyond is left out.
pub(crate) fn put_on(mut canvas: RgbImage, image: &RgbImage, [top, left]: [u32; 2]) -> RgbImage {
    let columns = image.width().min(canvas.width().saturating_sub(left)) as usize * 3;
    let (width, from) = (canvas.width() as usize * 3, left as usize * 3);
    if columns > 0 {
        let lines = canvas.chunks_exact_mut(width).skip(top as usize);
        for (to, line) in lines.zip(image.chunks_exact(image.width() as usize * 3)) {
            to[from..from + columns].copy_from_slice(&line[..columns]);
        }
    }
    canvas
}

/// `height` × `width` of a picture, from so many lines and columns on; it has as many.
pub(crate) fn part(image: &RgbImage, [top, left]: [u32; 2], [height, width]: [u32; 2]) -> RgbImage {
    let mut pixels = Vec::with_capacity(height as usize * width as usize * 3);
    let (from, length) = (left as usize * 3, width as usize * 3);
    for line in image.chunks_exact(image.width().max(1) as usize * 3).skip(top as usize).take(height as usize) {
        pixels.extend_from_slice(&line[from..from + length]);
    }
    RgbImage::from_raw(width, height, pixels).expect("as many lines and columns as the picture has")
}

/// Pieces of `height` × `width`, from left to right and top to bottom; those at the right and at the bottom may be smaller.
pub(crate) fn cut(image: &RgbImage, [height, width]: [u32; 2]) -> Vec<RgbImage> {
    let tops = (0..image.height()).step_by(height as usize);
    let corners = tops.flat_map(|top| (0..image.width()).step_by(width as usize).map(move |left| [top, left]));
    corners.map(|at| part(image, at, [height.min(image.height() - at[0]), width.min(image.width() - at[1])])).collect()
}
