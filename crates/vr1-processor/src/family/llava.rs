use std::borrow::Cow;
use std::sync::Arc;

use image::RgbImage;
use serde_json::Value;

use super::{Begins, ENDS, Family, ROLES};
use crate::files::Files;
use crate::media::{Extent, Piece, Run, Shows};
use crate::pixels::{CLIP, HALVES, Library, Pixels, on_black, part, put_on};
use crate::settings::Settings;
use crate::{Error, Patches, Resample, Result, Tiles};

/// Stands for one token of an image.
pub(super) const IMAGE: &str = "<image>";

pub(super) const FAMILY: Family = Family {
    model_types: &["llava"],
    classes: &["LlavaProcessor"],
    image: IMAGE,
    video: "",
    spelt: &[],
    around: ["", ""],
    unsaid: &[IMAGE],
    roles: ROLES,
    ends: ENDS,
    ids: &[("image_token_index", IMAGE), ("image_token_id", IMAGE)],
    begins: Begins::Always,
    video_template: None,
    shows: |files| Ok(Arc::new(Squared::read(files)?)),
};

/// The image processors whose steps these are; those of SigLIP have a size and no crop.
const CLIPS: [&str; 6] = [
    "CLIPImageProcessor",
    "CLIPImageProcessorFast",
    "CLIPImageProcessorPil",
    "LlavaImageProcessor",
    "LlavaImageProcessorFast",
    "LlavaImageProcessorPil",
];
const SIGLIPS: [&str; 3] = ["SiglipImageProcessor", "SiglipImageProcessorFast", "SiglipImageProcessorPil"];

/// A whole picture in one tile: resized, and cut to the middle.
#[derive(Debug)]
struct Squared {
    resizing: Resizing,
    pixels: Pixels,
    features: Features,
}

/// The steps by which a picture becomes a tile.
#[derive(Debug)]
pub(super) struct Resizing {
    /// The colour that is first put around it until it is square, where that is done.
    pub(super) square: Option<[u8; 3]>,
    pub(super) size: Option<Size>,
    /// The middle that is kept; black where there is less.
    pub(super) crop: Option<[u32; 2]>,
}

/// What a picture is resized to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Size {
    /// Its shorter side, the other in proportion.
    Shortest(u32),
    /// Both sides.
    Both([u32; 2]),
}

impl Size {
    /// As `size` says it.
    pub(super) fn read(settings: &Settings<'_>, default: Self) -> Result<Self> {
        let edge =
            settings.get("size").is_some_and(|size| size.get("shortest_edge").is_some_and(|edge| !edge.is_null()));
        match settings.get("size") {
            None => Ok(default),
            // A number is what was written before there were objects.
            Some(Value::Number(_)) => Ok(Self::Shortest(settings.sides("size", [0; 2])?[0])),
            Some(_) if edge => Ok(Self::Shortest(settings.sides("size", [0; 2])?[0])),
            Some(_) => Ok(Self::Both(settings.sides("size", [0; 2])?)),
        }
    }

    /// The sides that a picture of these sides gets.
    pub(super) fn of(self, [height, width]: [u32; 2]) -> [u32; 2] {
        match self {
            Self::Both(sides) => sides,
            Self::Shortest(edge) => {
                let long = |long: u32, short: u32| (u64::from(edge) * u64::from(long) / u64::from(short)) as u32;
                match width <= height {
                    true => [long(height, width), edge],
                    false => [edge, long(width, height)],
                }
            }
        }
    }
}

impl Squared {
    fn read(files: &Files<'_>) -> Result<Self> {
        let settings = files.images()?;
        settings.refuse_other_types("image_processor_type", &[&CLIPS[..], &SIGLIPS[..]].concat())?;
        let known = ["do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb", "do_pad"];
        settings.refuse_unknown_steps(&known)?;
        let kind = settings.get("image_processor_type").and_then(Value::as_str).unwrap_or(CLIPS[3]);
        let siglip = SIGLIPS.contains(&kind);
        let (size, crop) = match siglip {
            true => (Size::Both([224; 2]), None),
            false => (Size::Shortest(224), Some([224; 2])),
        };
        let pixels = Pixels::read(&settings, Resample::Bicubic, if siglip { HALVES } else { CLIP })?;
        // Only LLaVA's own class knows this step; CLIP's pads to the size of its batch, which is one size here.
        let square = kind.starts_with("Llava") && settings.flag("do_pad", false)?;
        let colour = |mean: [f64; 3]| mean.map(|mean| (mean * 255.0) as u8);
        let resizing = Resizing {
            square: square.then(|| colour(pixels.normalize.map_or(CLIP[0], |[mean, _]| mean))),
            size: settings.flag("do_resize", true)?.then_some(Size::read(&settings, size)?),
            crop: match settings.flag("do_center_crop", crop.is_some())? {
                true => Some(settings.sides("crop_size", crop.unwrap_or([224; 2]))?),
                false => None,
            },
        };
        Ok(Self { resizing, pixels, features: Features::read(files)? })
    }
}

impl Resizing {
    /// The sides of the tile that a picture of these sides becomes.
    pub(super) fn sides(&self, sides: [u32; 2]) -> [u32; 2] {
        let sides = if self.square.is_some() { [sides[0].max(sides[1]); 2] } else { sides };
        self.crop.unwrap_or(self.size.map_or(sides, |size| size.of(sides)))
    }

    /// The same, where the steps on the way admit it.
    pub(super) fn admitted(&self, sides: [u32; 2]) -> Result<[u32; 2]> {
        let squared = if self.square.is_some() { [sides[0].max(sides[1]); 2] } else { sides };
        self.size.map(|size| Pixels::admit(size.of(squared))).transpose()?;
        Ok(self.sides(sides))
    }

    /// Whether a picture of these sides is a tile already.
    pub(super) fn leaves(&self, sides: [u32; 2]) -> bool {
        let squares = self.square.is_some() && sides[0] != sides[1];
        !squares && self.size.is_none_or(|size| size.of(sides) == sides) && self.crop.is_none_or(|crop| crop == sides)
    }

    /// The picture as a tile.
    pub(super) fn tile(&self, image: &RgbImage, pixels: &Pixels) -> Result<RgbImage> {
        let squared = self.square.filter(|_| image.width() != image.height()).map(|colour| {
            let side = image.width().max(image.height());
            let at = [(side - image.height()) / 2, (side - image.width()) / 2];
            put_on(RgbImage::from_pixel(side, side, image::Rgb(colour)), image, at)
        });
        let image = squared.as_ref().unwrap_or(image);
        let sides = [image.height(), image.width()];
        let resized = match self.size {
            Some(size) => pixels.resize(image, size.of(sides))?,
            None => image.clone(),
        };
        Ok(match self.crop {
            Some(crop) => middle(&resized, crop, pixels.library),
            None => resized,
        })
    }
}

/// The middle of a picture, with black around it where there is less.
fn middle(image: &RgbImage, [height, width]: [u32; 2], library: Library) -> RgbImage {
    let lacks = [height.saturating_sub(image.height()), width.saturating_sub(image.width())];
    // An odd line of it is below, but above in the numpy of transformers' `Pil` classes.
    let at = lacks.map(|lines| if library == Library::Pillow { lines.div_ceil(2) } else { lines / 2 });
    let roomy = [height.max(image.height()), width.max(image.width())];
    let roomy = if lacks == [0, 0] { Cow::Borrowed(image) } else { Cow::Owned(on_black(image, roomy, at)) };
    part(&roomy, [(roomy.height() - height) / 2, (roomy.width() - width) / 2], [height, width])
}

/// How many tokens a tile becomes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Features {
    /// Side of a patch in pixels.
    pub(super) patch: usize,
    /// What the encoder adds to the patches (one that stands for the whole), less what is dropped of it.
    extra: i64,
}

impl Features {
    /// From `processor_config.json`, and where that does not say it, as it follows from the model's `config.json`.
    pub(super) fn read(files: &Files<'_>) -> Result<Self> {
        let (processor, config) = (files.processor()?, files.config()?);
        let patch = files.patch_size(14, |kind| if kind == Some("siglip_vision_model") { 16 } else { 32 })?;
        let patch = processor.side("patch_size", patch as u32)? as usize;
        let key = "vision_feature_select_strategy";
        let strategy = match processor.get(key).or(config.get(key)).map(|value| (value, value.as_str())) {
            None | Some((_, Some("default"))) => 1,
            Some((_, Some("full"))) => 0,
            Some((value, _)) => {
                let said = if processor.get(key).is_some() { &processor } else { &config };
                return said.wrong(key, format!("{value} is unknown; known are \"default\" and \"full\""));
            }
        };
        let siglip = config.inside("vision_config", |vision| {
            Ok(vision.get("model_type").and_then(Value::as_str) == Some("siglip_vision_model"))
        })?;
        // CLIP puts one token before its patches; SigLIP does not.
        let before = if siglip == Some(true) { 0 } else { 1 };
        let added = processor.whole("num_additional_image_tokens", before)?;
        if added > 64 {
            return processor.wrong("num_additional_image_tokens", format!("{added} is above 64"));
        }
        Ok(Self { patch, extra: added as i64 - strategy })
    }

    /// Lines and columns of patches in a tile, and how many tokens the tile becomes.
    pub(super) fn of(&self, tile: [u32; 2]) -> Result<([usize; 2], usize)> {
        let [height, width] = tile.map(|side| side as usize);
        let grid = [height / self.patch, width / self.patch];
        match (grid[0] * grid[1]) as i64 + self.extra {
            tokens if tokens > 0 && grid[0] * grid[1] > 0 => Ok((grid, tokens as usize)),
            _ => Err(Error::NotWholePatches { height, width, unit: self.patch }),
        }
    }
}

/// Patches that become tokens which stand in a line.
pub(super) fn line(patches: Patches, tokens: usize) -> Run {
    Run { patches: Arc::new(patches), grid: [1, 1, tokens], interval: None }
}

impl Shows for Squared {
    fn image(&self, image: &RgbImage) -> Result<Piece> {
        let tile = self.resizing.tile(image, &self.pixels)?;
        let (_, tokens) = self.features.of([tile.height(), tile.width()])?;
        let patches = self.pixels.patches(&[tile], self.features.patch, Tiles::Whole);
        Ok(Piece { text: IMAGE.into(), runs: vec![line(patches, tokens)] })
    }

    fn count_image(&self, sides: [u32; 2]) -> Result<Piece<Extent>> {
        let ([high, wide], tokens) = self.features.of(self.resizing.admitted(sides)?)?;
        Ok(Piece { text: IMAGE.into(), runs: vec![Extent { tokens, patches: high * wide }] })
    }
}
