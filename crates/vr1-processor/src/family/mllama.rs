use std::sync::Arc;

use image::RgbImage;

use super::{Begins, ENDS, Family, ROLES};
use crate::files::Files;
use crate::media::{Extent, Piece, Run, Shows};
use crate::pixels::{HALVES, Pixels, cut, on_black};
use crate::settings::Settings;
use crate::{Resample, Result, Tiles};

/// Stands for an image, which the text is not interrupted by: layers beside it look at the picture.
const IMAGE: &str = "<|image|>";

pub(super) const FAMILY: Family = Family {
    model_types: &["mllama"],
    classes: &["MllamaProcessor"],
    image: IMAGE,
    video: "",
    spelt: &[],
    around: ["", ""],
    unsaid: &[IMAGE],
    roles: ROLES,
    ends: ENDS,
    ids: &[("image_token_index", IMAGE), ("image_token_id", IMAGE)],
    begins: Begins::BehindPictures,
    video_template: None,
    shows: |files| Ok(Arc::new(Tiled::read(files)?)),
};

const TYPES: [&str; 3] = ["MllamaImageProcessor", "MllamaImageProcessorFast", "MllamaImageProcessorPil"];

/// A picture on a canvas of up to so many tiles.
#[derive(Debug)]
struct Tiled {
    /// The side of a tile.
    side: u32,
    /// Rows and columns of tiles of each canvas.
    canvases: Vec<[u32; 2]>,
    patch: usize,
    pixels: Pixels,
}

impl Tiled {
    fn read(files: &Files<'_>) -> Result<Self> {
        let settings = files.images()?;
        settings.refuse_other_types("image_processor_type", &TYPES)?;
        settings.refuse_unknown_steps(&["do_resize", "do_rescale", "do_normalize", "do_convert_rgb", "do_pad"])?;
        settings.require_steps(&["do_resize", "do_pad"])?;
        let [height, width] = settings.sides("size", [224; 2])?;
        if height != width {
            return settings.wrong("size", format!("{height} × {width} is not a square, and a tile must be one"));
        }
        let most = settings.side("max_image_tiles", 4)?;
        if most > 64 {
            return settings.wrong("max_image_tiles", format!("{most} is above 64"));
        }
        agrees(files, &settings, "size", "image_size", height)?;
        agrees(files, &settings, "max_image_tiles", "max_num_tiles", most)?;
        let pairs = (1..=most).flat_map(|rows| (1..=most).map(move |columns| [rows, columns]));
        let pixels = Pixels::read(&settings, Resample::Bilinear, HALVES)?;
        let canvases = pairs.filter(|[rows, columns]| rows * columns <= most).collect();
        Ok(Self { side: height, canvases, patch: files.patch_size(14, |_| 14)?, pixels })
    }

    /// The canvas of a picture of these sides: that which enlarges it least, else that which shrinks it least; of these the smallest.
    fn canvas(&self, sides: [u32; 2]) -> [u32; 2] {
        let scale = |canvas: &[u32; 2]| {
            let [high, wide] = [0, 1].map(|i| f64::from(canvas[i] * self.side) / f64::from(sides[i]));
            if wide > high { high } else { wide }
        };
        let scales: Vec<f64> = self.canvases.iter().map(scale).collect();
        let least = scales.iter().copied().filter(|scale| *scale >= 1.0).reduce(f64::min);
        let chosen = least.unwrap_or_else(|| scales.iter().copied().fold(0.0, f64::max));
        let of_it = self.canvases.iter().zip(&scales).filter(|(_, scale)| **scale == chosen).map(|(canvas, _)| *canvas);
        // The first of equals, as `min_by_key` gives it.
        of_it.min_by_key(|[rows, columns]| rows * columns).unwrap_or([1, 1])
    }
}

/// What the image settings and the model's `vision_config` both say must be the same.
fn agrees(files: &Files<'_>, settings: &Settings<'_>, key: &str, of_model: &str, said: u32) -> Result<()> {
    let model = files.config()?.inside("vision_config", |vision| vision.side(of_model, said))?;
    match model.filter(|model| *model != said) {
        Some(model) => {
            settings.wrong(key, format!("{said}, but config.json has {model} as `vision_config.{of_model}`"))
        }
        None => Ok(()),
    }
}

/// The sides of a picture on a canvas: at least a tile long, at most the canvas, in proportion.
fn fitted([height, width]: [u32; 2], side: u32, canvas: [u32; 2]) -> [u32; 2] {
    let target = [height.clamp(side, canvas[0]), width.clamp(side, canvas[1])];
    let [scale_h, scale_w] = [f64::from(target[0]) / f64::from(height), f64::from(target[1]) / f64::from(width)];
    let part = |length: u32, scale: f64, most: u32| ((f64::from(length) * scale).floor() as u32).clamp(1, most);
    match scale_w < scale_h {
        true => [part(height, scale_w, target[0]), target[1]],
        false => [target[0], part(width, scale_h, target[1])],
    }
}

impl Shows for Tiled {
    fn image(&self, image: &RgbImage) -> Result<Piece> {
        let sides = [image.height(), image.width()];
        let [rows, columns] = self.canvas(sides);
        let canvas = [rows * self.side, columns * self.side];
        let resized = self.pixels.resize(image, fitted(sides, self.side, canvas))?;
        let tiles = cut(&on_black(&resized, canvas, [0, 0]), [self.side; 2]);
        let arrangement = Tiles::Canvas { rows: rows as usize, columns: columns as usize };
        let patches = Arc::new(self.pixels.patches(&tiles, self.patch, arrangement));
        Ok(Piece { text: IMAGE.into(), runs: vec![Run { patches, grid: [1, 1, 1], interval: None }] })
    }

    fn count_image(&self, sides: [u32; 2]) -> Result<Piece<Extent>> {
        let [rows, columns] = self.canvas(sides);
        Pixels::admit(fitted(sides, self.side, [rows * self.side, columns * self.side]))?;
        let along = self.side as usize / self.patch;
        let patches = rows as usize * columns as usize * along * along;
        Ok(Piece { text: IMAGE.into(), runs: vec![Extent { tokens: 1, patches }] })
    }
}
