use std::collections::BTreeMap;
use std::sync::Arc;

use image::RgbImage;
use serde_json::Value;

use super::{Begins, ENDS, Family, ROLES};
use crate::anyres::{best, canvases, centred};
use crate::files::Files;
use crate::media::{Extent, Piece, Run, Shows};
use crate::pixels::{HALVES, Pixels, cut, on_black};
use crate::{Resample, Result, Tiles};

/// Stands for one token of an image.
const IMAGE: &str = "<|img|>";

pub(super) const FAMILY: Family = Family {
    model_types: &["aria"],
    classes: &["AriaProcessor"],
    image: IMAGE,
    video: "",
    spelt: &[],
    around: ["<fim_prefix>", "<fim_suffix>"],
    unsaid: &[IMAGE],
    roles: ROLES,
    ends: ENDS,
    ids: &[("image_token_index", IMAGE), ("image_token_id", IMAGE)],
    begins: Begins::Always,
    video_template: None,
    shows: |files| Ok(Arc::new(Cornered::read(files)?)),
};

const TYPES: [&str; 3] = ["AriaImageProcessor", "AriaImageProcessorFast", "AriaImageProcessorPil"];

/// The sides that a tile may have.
const SIDES: [u32; 2] = [490, 980];
/// The canvases of the class, in tiles of the smaller side.
const SPLITS: [[u32; 2]; 19] = [
    [1, 2],
    [1, 3],
    [1, 4],
    [1, 5],
    [1, 6],
    [1, 7],
    [1, 8],
    [2, 4],
    [2, 3],
    [2, 2],
    [2, 1],
    [3, 1],
    [3, 2],
    [4, 1],
    [4, 2],
    [5, 1],
    [6, 1],
    [7, 1],
    [8, 1],
];

/// A picture in the upper left corner of a tile, or cut up first and each piece in one.
#[derive(Debug)]
struct Cornered {
    side: u32,
    /// What the shorter side is at least, whatever the aspect.
    least: u32,
    /// The canvases of which one is cut into pieces, where that is done.
    splits: Option<Vec<[u32; 2]>>,
    patch: usize,
    /// How many tokens a tile becomes.
    tokens: usize,
    pixels: Pixels,
}

impl Cornered {
    fn read(files: &Files<'_>) -> Result<Self> {
        let (settings, processor) = (files.images()?, files.processor()?);
        settings.refuse_other_types("image_processor_type", &TYPES)?;
        settings.refuse_unknown_steps(&["do_rescale", "do_normalize", "do_convert_rgb", "do_resize", "do_pad"])?;
        let side = settings.side("max_image_size", SIDES[1])?;
        if !SIDES.contains(&side) {
            return settings.wrong("max_image_size", format!("{side} is neither of {SIDES:?}"));
        }
        let least = settings.side("min_image_size", 336)?;
        if least > side {
            return settings.wrong("min_image_size", format!("{least} is above `max_image_size`, {side}"));
        }
        let published = SPLITS.map(|canvas| canvas.map(|tiles| tiles * SIDES[0]));
        let splits = match settings.flag("split_image", false)? {
            true => Some(canvases(&settings, "split_resolutions", &published)?),
            false => None,
        };
        let sizes = match processor.get("size_conversion") {
            None => BTreeMap::from([(490, 128), (980, 256)]),
            Some(Value::Object(map)) => {
                let entry = |(side, tokens): (&String, &Value)| Some((side.parse::<u32>().ok()?, tokens.as_u64()?));
                let sizes: Option<BTreeMap<u32, u64>> = map.iter().map(entry).collect();
                sizes.unwrap_or_default()
            }
            Some(_) => BTreeMap::new(),
        };
        let tokens = match sizes.get(&side).copied() {
            Some(tokens @ 1..=65_536) => tokens as usize,
            _ => return processor.wrong("size_conversion", format!("no number of tokens for pictures of {side}")),
        };
        let pixels = Pixels::read(&settings, Resample::Bicubic, HALVES)?;
        Ok(Self { side, least, splits, patch: files.patch_size(14, |_| 32)?, tokens, pixels })
    }

    /// A piece in the corner of a tile, and how many lines and columns of patches show anything of it.
    fn tile(&self, piece: &RgbImage) -> Result<(RgbImage, [usize; 2])> {
        let (h, w) = (f64::from(piece.height()), f64::from(piece.width()));
        let scale = f64::from(self.side) / h.max(w);
        let sides = match w >= h {
            true => [((h * scale) as u32).max(self.least), self.side],
            false => [self.side, ((w * scale) as u32).max(self.least)],
        };
        let resized = self.pixels.resize(piece, sides)?;
        let whole = self.side as usize / self.patch;
        let shown = sides.map(|side| (side as usize).div_ceil(self.patch).min(whole));
        Ok((on_black(&resized, [self.side; 2], [0, 0]), shown))
    }
}

impl Shows for Cornered {
    fn image(&self, image: &RgbImage) -> Result<Piece> {
        let pieces = match &self.splits {
            Some(splits) => {
                let canvas = best([image.height(), image.width()], splits)?;
                cut(&centred(image, canvas, &self.pixels)?, [self.side; 2])
            }
            None => vec![image.clone()],
        };
        let made = pieces.iter().map(|piece| self.tile(piece)).collect::<Result<Vec<_>>>()?;
        let (tiles, corners): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        let patches = Arc::new(self.pixels.patches(&tiles, self.patch, Tiles::Corners(corners)));
        let grid = [tiles.len(), 1, self.tokens];
        Ok(Piece { text: IMAGE.into(), runs: vec![Run { patches, grid, interval: None }] })
    }

    fn count_image(&self, sides: [u32; 2]) -> Result<Piece<Extent>> {
        let tiles = match &self.splits {
            Some(splits) => best(sides, splits)?.map(|side| side.div_ceil(self.side) as usize).iter().product(),
            None => 1,
        };
        let along = self.side as usize / self.patch;
        let extent = Extent { tokens: tiles * self.tokens, patches: tiles * along * along };
        Ok(Piece { text: IMAGE.into(), runs: vec![extent] })
    }
}
