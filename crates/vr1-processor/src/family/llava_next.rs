use std::sync::Arc;

use image::RgbImage;

use super::Family;
use super::llava::{self, Features, IMAGE, Resizing, Size, line};
use crate::anyres::{best, canvases, centred};
use crate::files::Files;
use crate::media::{Extent, Piece, Shows};
use crate::pixels::{CLIP, Pixels, cut};
use crate::{Resample, Result, Tiles};

pub(super) const FAMILY: Family = Family {
    model_types: &["llava_next"],
    classes: &["LlavaNextProcessor"],
    shows: |files| Ok(Arc::new(AnyRes::read(files)?)),
    ..llava::FAMILY
};

const TYPES: [&str; 3] = ["LlavaNextImageProcessor", "LlavaNextImageProcessorFast", "LlavaNextImageProcessorPil"];

/// The canvases of the class.
const PINPOINTS: [[u32; 2]; 5] = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]];

/// A picture as a whole, and on the canvas that suits it best in tiles; of these the middle that shows it, with a token at the end of
/// each line.
#[derive(Debug)]
struct AnyRes {
    canvases: Vec<[u32; 2]>,
    /// What the whole picture is resized to.
    whole: [u32; 2],
    /// The side of the tiles that the canvas is cut into.
    side: u32,
    /// What happens to each of them, and to the whole one.
    resizing: Resizing,
    pixels: Pixels,
    features: Features,
}

impl AnyRes {
    fn read(files: &Files<'_>) -> Result<Self> {
        let settings = files.images()?;
        settings.refuse_other_types("image_processor_type", &TYPES)?;
        let known = ["do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb", "do_pad"];
        settings.refuse_unknown_steps(&known)?;
        let pixels = Pixels::read(&settings, Resample::Bicubic, CLIP)?;
        let canvases = canvases(&settings, "image_grid_pinpoints", &PINPOINTS)?;
        let size = Size::read(&settings, Size::Shortest(224))?;
        let crop = settings.sides("crop_size", [224; 2])?;
        let resizing = Resizing {
            square: None,
            size: settings.flag("do_resize", true)?.then_some(size),
            crop: settings.flag("do_center_crop", true)?.then_some(crop),
        };
        let whole = match size {
            Size::Shortest(edge) => [edge; 2],
            Size::Both(sides) => sides,
        };
        let side = crop[0];
        if [whole, [side; 2]].iter().any(|sides| resizing.sides(*sides) != [side; 2]) {
            return settings.wrong("crop_size", format!("{crop:?}, and tiles do not come out as {side} × {side}"));
        }
        if let Some(canvas) = canvases.iter().find(|canvas| canvas.iter().any(|length| length % side != 0)) {
            let reason = format!("{canvas:?} is not made of whole tiles of {side} × {side} (`crop_size`)");
            return settings.wrong("image_grid_pinpoints", reason);
        }
        Ok(Self { canvases, whole, side, resizing, pixels, features: Features::read(files)? })
    }
}

/// How a picture stands on its canvas.
struct Arranged {
    rows: usize,
    columns: usize,
    /// Lines and columns of patches that show it.
    kept: [usize; 2],
    tokens: usize,
    patches: usize,
}

impl AnyRes {
    fn arranged(&self, sides: [u32; 2], canvas: [u32; 2]) -> Result<Arranged> {
        let ([high, wide], tokens) = self.features.of([self.side; 2])?;
        let [rows, columns] = canvas.map(|length| (length / self.side) as usize);
        let kept = kept(sides, [high * rows, wide * columns]);
        let (tokens, patches) = (tokens + kept[0] * (kept[1] + 1), (1 + rows * columns) * high * wide);
        Ok(Arranged { rows, columns, kept, tokens, patches })
    }
}

impl Shows for AnyRes {
    fn image(&self, image: &RgbImage) -> Result<Piece> {
        let sides = [image.height(), image.width()];
        let canvas = best(sides, &self.canvases)?;
        let mut tiles = vec![self.pixels.resize(image, self.whole)?];
        tiles.extend(cut(&centred(image, canvas, &self.pixels)?, [self.side; 2]));
        for tile in tiles.iter_mut().filter(|tile| !self.resizing.leaves([tile.height(), tile.width()])) {
            *tile = self.resizing.tile(tile, &self.pixels)?;
        }
        let Arranged { rows, columns, kept, tokens, .. } = self.arranged(sides, canvas)?;
        let arrangement = Tiles::Overview { rows, columns, kept };
        let patches = self.pixels.patches(&tiles, self.features.patch, arrangement);
        Ok(Piece { text: IMAGE.into(), runs: vec![line(patches, tokens)] })
    }

    fn count_image(&self, sides: [u32; 2]) -> Result<Piece<Extent>> {
        let Arranged { tokens, patches, .. } = self.arranged(sides, best(sides, &self.canvases)?)?;
        Ok(Piece { text: IMAGE.into(), runs: vec![Extent { tokens, patches }] })
    }
}

/// Lines and columns in the middle of a canvas of `lines` × `columns` patches that show a picture of that height and width.
fn kept([height, width]: [u32; 2], [lines, columns]: [usize; 2]) -> [usize; 2] {
    let (h, w) = (f64::from(height), f64::from(width));
    let (high, wide) = (lines as f64, columns as f64);
    // Rounded to seven digits before it is cut, as transformers does it in processor and model.
    let whole = |length: f64| ((length * 1e7).round_ties_even() / 1e7) as usize;
    match w / h > wide / high {
        true => [lines - (lines - whole(h * (wide / w))) / 2 * 2, columns],
        false => [lines, columns - (columns - whole(w * (high / h))) / 2 * 2],
    }
}
