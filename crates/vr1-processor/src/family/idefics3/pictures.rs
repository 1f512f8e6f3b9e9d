use std::sync::Arc;

use image::RgbImage;

use super::videos::Filmed;
use super::{AROUND, IMAGE, WHOLE};
use crate::files::Files;
use crate::media::{Extent, Frames, Piece, Run, Shows, Taken};
use crate::pixels::{HALVES, Library, Pixels, cut};
use crate::settings::Settings;
use crate::{Error, FrameSampling, Resample, Result, Tiles};

const TYPES: [&str; 6] = [
    "Idefics3ImageProcessor",
    "Idefics3ImageProcessorFast",
    "Idefics3ImageProcessorPil",
    "SmolVLMImageProcessor",
    "SmolVLMImageProcessorFast",
    "SmolVLMImageProcessorPil",
];

/// No side is longer than that, whatever the settings say.
const LONGEST: u32 = 4096;

/// A picture in tiles, from left to right and top to bottom, and whole in one more behind them.
#[derive(Debug, Clone)]
pub(super) struct Split {
    /// What it is resized to before it is cut, where it is.
    size: Option<Longest>,
    /// Whether it is cut at all.
    splits: bool,
    pixels: Pixels,
    tile: Tile,
    videos: Option<Filmed>,
}

/// What a tile is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    pub(super) side: u32,
    /// The side of its patches.
    pub(super) patch: usize,
    /// How many tokens it becomes.
    pub(super) tokens: usize,
}

/// What a picture is resized to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Longest {
    /// Its longer side, the other in proportion and even.
    Edge(u32),
    /// Both sides.
    Both([u32; 2]),
}

impl Longest {
    /// As `size` says it.
    pub(super) fn read(settings: &Settings<'_>, key: &str, default: u32) -> Result<Self> {
        let edge = |size: &serde_json::Value| size.get("height").is_none_or(serde_json::Value::is_null);
        match settings.get(key) {
            None => Ok(Self::Edge(default)),
            Some(size) if edge(size) => Ok(Self::Edge(settings.sides(key, [0; 2])?[0])),
            Some(_) => Ok(Self::Both(settings.sides(key, [0; 2])?)),
        }
    }

    pub(super) fn of(self, [height, width]: [u32; 2]) -> [u32; 2] {
        let edge = match self {
            Self::Both(sides) => return sides,
            Self::Edge(edge) => edge,
        };
        let even = |side: u32| (side + side % 2).max(1);
        let [height, width] = in_proportion([height, width], edge);
        let [height, width] = match width >= height {
            true => [even(height), width],
            false => [height, even(width)],
        };
        match height.max(width) > LONGEST {
            true => in_proportion([height, width], LONGEST).map(|side| side.max(1)),
            false => [height, width],
        }
    }
}

/// The sides of a picture whose longer one becomes `edge`, the other cut to whole pixels.
fn in_proportion([height, width]: [u32; 2], edge: u32) -> [u32; 2] {
    let aspect = f64::from(width) / f64::from(height);
    match width >= height {
        true => [(f64::from(edge) / aspect) as u32, edge],
        false => [edge, (f64::from(edge) * aspect) as u32],
    }
}

impl Split {
    pub(super) fn read(files: &Files<'_>) -> Result<Self> {
        let settings = files.images()?;
        settings.refuse_other_types("image_processor_type", &TYPES)?;
        let known = ["do_resize", "do_rescale", "do_normalize", "do_convert_rgb", "do_pad", "do_image_splitting"];
        settings.refuse_unknown_steps(&known)?;
        // Whatever the filter, transformers gives these classes to Pillow.
        let pixels = Pixels { library: Library::Pillow, ..Pixels::read(&settings, Resample::Lanczos, HALVES)? };
        let side = settings.sides("max_image_size", [364; 2])?[0];
        let (patch, processor) = (files.patch_size(32, |_| 32)?, files.processor()?);
        let tokens = processor.side("image_seq_len", 169)? as usize;
        let tile = Tile { side, patch, tokens };
        let config = files.config()?;
        if config.get("vision_config").is_some() {
            let joined = config.side("scale_factor", 2)?;
            let along = side as usize / patch / joined as usize;
            if along * along != tokens {
                let reason = format!(
                    "{tokens}, but {side} pixels in patches of {patch}, joined by {joined}, are {along} × {along} tokens"
                );
                return processor.wrong("image_seq_len", reason);
            }
        }
        let size = Longest::read(&settings, "size", 4 * 364)?;
        Ok(Self {
            size: settings.flag("do_resize", true)?.then_some(size),
            splits: settings.flag("do_image_splitting", true)?,
            pixels,
            tile,
            videos: None,
        })
    }

    pub(super) fn with_videos(self, files: &Files<'_>) -> Result<Self> {
        Ok(Self { videos: Some(Filmed::read(files, self.tile)?), ..self })
    }

    /// The tiles, and how many rows and columns of them there are before the last, which shows the whole.
    fn tiles(&self, image: &RgbImage) -> Result<(Vec<RgbImage>, [u32; 2])> {
        let side = self.tile.side;
        let resized = match self.size {
            Some(size) => self.pixels.resize(image, size.of([image.height(), image.width()]))?,
            None => image.clone(),
        };
        if !self.splits {
            return Ok((vec![self.pixels.resize(&resized, [side; 2])?], [0, 0]));
        }
        let sides = self.fitted([resized.height(), resized.width()]);
        let fitted = self.pixels.resize(&resized, sides)?;
        if sides == [side; 2] {
            return Ok((vec![fitted], [0, 0]));
        }
        let mut tiles = cut(&fitted, [side; 2]);
        tiles.push(self.pixels.resize(&fitted, [side; 2])?);
        Ok((tiles, sides.map(|length| length / side)))
    }

    /// The sides, whole tiles, of a picture that is to be cut.
    fn fitted(&self, [height, width]: [u32; 2]) -> [u32; 2] {
        let whole = |length: u32| length.div_ceil(self.tile.side) * self.tile.side;
        let aspect = f64::from(width) / f64::from(height);
        match width >= height {
            true => [whole((f64::from(whole(width)) / aspect) as u32), whole(width)],
            false => [whole(height), whole((f64::from(whole(height)) * aspect) as u32)],
        }
    }

    /// How many rows and columns of tiles there are before the last.
    fn layout(&self, sides: [u32; 2]) -> Result<[u32; 2]> {
        let side = self.tile.side;
        let resized = self.size.map_or(Ok(sides), |size| Pixels::admit(size.of(sides)))?;
        if !self.splits {
            return Ok([0, 0]);
        }
        let fitted = Pixels::admit(self.fitted(resized))?;
        Ok(if fitted == [side; 2] { [0, 0] } else { fitted.map(|length| length / side) })
    }

    /// What stands for a picture in so many rows and columns of tiles, and in one more.
    fn text([rows, columns]: [u32; 2]) -> String {
        let mut text = String::new();
        for row in 1..=rows {
            for column in 1..=columns {
                text.push_str(&format!("{AROUND}<row_{row}_col_{column}>{IMAGE}"));
            }
            text.push('\n');
        }
        if rows > 0 {
            text.push('\n');
        }
        text + &Tile::text()
    }
}

impl Tile {
    /// What stands for a picture in one tile.
    pub(super) fn text() -> String {
        format!("{AROUND}{WHOLE}{IMAGE}{AROUND}")
    }

    /// How large it is.
    pub(super) fn extent(&self) -> Extent {
        let along = self.side as usize / self.patch;
        Extent { tokens: self.tokens, patches: along * along }
    }

    /// A tile's own tokens.
    pub(super) fn run(&self, tile: &RgbImage, pixels: &Pixels) -> Run {
        let patches = pixels.patches(std::slice::from_ref(tile), self.patch, Tiles::Whole);
        Run { patches: Arc::new(patches), grid: [1, 1, self.tokens], interval: None }
    }
}

impl Shows for Split {
    fn image(&self, image: &RgbImage) -> Result<Piece> {
        let (tiles, layout) = self.tiles(image)?;
        let runs = tiles.iter().map(|tile| self.tile.run(tile, &self.pixels)).collect();
        Ok(Piece { text: Self::text(layout), runs })
    }

    fn count_image(&self, sides: [u32; 2]) -> Result<Piece<Extent>> {
        let layout = self.layout(sides)?;
        let tiles = 1 + layout.iter().product::<u32>() as usize;
        Ok(Piece { text: Self::text(layout), runs: vec![self.tile.extent(); tiles] })
    }

    fn frame_indices(&self, total: usize, fps: Option<f64>) -> Result<Vec<usize>> {
        self.videos.as_ref().ok_or(Error::NoVideos)?.frame_indices(total, fps)
    }

    fn video(&self, frames: &Frames<'_>) -> Result<Piece> {
        self.videos.as_ref().ok_or(Error::NoVideos)?.piece(frames)
    }

    fn count_video(&self, taken: &Taken, _sides: [u32; 2]) -> Result<Piece<Extent>> {
        self.videos.as_ref().ok_or(Error::NoVideos)?.count(taken)
    }

    fn taking(&self, sampling: FrameSampling) -> Option<Arc<dyn Shows>> {
        let videos = Some(self.videos.as_ref()?.taking(sampling));
        Some(Arc::new(Self { videos, ..self.clone() }))
    }
}
