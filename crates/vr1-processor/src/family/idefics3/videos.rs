use serde_json::Value;

use super::pictures::{Longest, Tile};
use super::sentence::{duration, in_words};
use crate::files::Files;
use crate::frame_sampling::DEFAULT_FPS;
use crate::media::{Extent, Frames, Piece, Taken};
use crate::pixels::{HALVES, Library, Pixels};
use crate::settings::{self, Settings};
use crate::{Error, FrameSampling, Resample, Result};

/// Seconds at both ends of a long video of which nothing is taken.
const SKIPPED: f64 = 1.0;

/// A video as pictures of one tile each, with what it is said before them and the time before each.
#[derive(Debug, Clone)]
pub(super) struct Filmed {
    size: Option<Longest>,
    pixels: Pixels,
    tile: Tile,
    /// Whether frames are left out.
    sampled: bool,
    /// Of how many a second some are taken.
    rate: Option<f64>,
    /// How many are taken at most.
    most: Option<usize>,
}

impl Filmed {
    pub(super) fn read(files: &Files<'_>, tile: Tile) -> Result<Self> {
        if let Some((block, file)) = settings::block(files.dir, "video_processor")? {
            return Self::of(&Settings::new(&block, &file)?, tile);
        }
        let path = files.dir.join("video_preprocessor_config.json");
        if path.is_file() {
            return Self::of(&Settings::new(&settings::read_json(&path)?, &path.display().to_string())?, tile);
        }
        Self::of(&files.images()?, tile)
    }

    fn of(settings: &Settings<'_>, tile: Tile) -> Result<Self> {
        let read = Pixels::read(settings, Resample::Lanczos, HALVES)?;
        // torchvision, which frames are given to, has no Lanczos of its own before 0.27, and transformers takes the cubic.
        let resample = if read.resample == Resample::Lanczos { Resample::Bicubic } else { read.resample };
        let pixels = Pixels { library: Library::Torchvision, resample, ..read };
        let (rate, most) = Self::rate_and_most(settings, ["fps", "num_frames"])?;
        let mut size = Longest::read(settings, "size", 4 * 364)?;
        let older = settings.inside("video_sampling", |sampling| {
            let (rate, most) = Self::rate_and_most(sampling, ["fps", "max_frames"])?;
            Ok((rate, most, Longest::read(sampling, "video_size", 4 * 364)?))
        })?;
        let (rate, most) = match older {
            Some((older_rate, older_most, older_size)) => {
                if settings.get("size").is_none() {
                    size = older_size;
                }
                (older_rate.or(rate), older_most.or(most))
            }
            None => (rate, most),
        };
        let side = settings.sides("max_image_size", [tile.side; 2])?[0];
        if side != tile.side {
            let reason = format!("{side}, but the tiles of images have a side of {}", tile.side);
            return settings.wrong("max_image_size", reason);
        }
        let sampled = settings.flag("do_sample_frames", false)? || rate.is_some() || most.is_some();
        let size = settings.flag("do_resize", true)?.then_some(size);
        Ok(Self { size, pixels, tile, sampled, rate, most })
    }

    fn rate_and_most(settings: &Settings<'_>, [rate, most]: [&str; 2]) -> Result<(Option<f64>, Option<usize>)> {
        let said = |key: &str| settings.get(key).is_some_and(|value: &Value| !value.is_null());
        let rate = if said(rate) { Some(settings.positive(rate, 1.0)?) } else { None };
        let most = if said(most) { Some(settings.side(most, 1)? as usize) } else { None };
        Ok((rate, most))
    }

    pub(super) fn taking(&self, sampling: FrameSampling) -> Self {
        let (sampled, rate, most) = match sampling {
            FrameSampling::All => (false, None, None),
            FrameSampling::PerSecond(rate) => (true, Some(rate), self.most),
            FrameSampling::Count(count) => (true, None, Some(count)),
        };
        Self { sampled, rate, most, ..self.clone() }
    }

    /// Evenly from the first to the last; where more would be taken of a long one than there may be, not those of its first
    /// and its last second.
    pub(super) fn frame_indices(&self, total: usize, fps: Option<f64>) -> Result<Vec<usize>> {
        if total == 0 {
            return Err(Error::NoFrames);
        }
        if !self.sampled {
            return Ok((0..total).collect());
        }
        let last = total - 1;
        let most = self.most.unwrap_or(total);
        let Some(rate) = self.rate else { return Ok(evenly(0, last, most.max(1))) };
        let Some(fps) = fps else {
            let reason = format!("{rate} a second are asked for, and how many it has a second is not known");
            return Err(Error::Sampling { total, reason });
        };
        let seconds = total as f64 / fps;
        let wanted = ((rate * seconds).round_ties_even() as usize).min(most).max(1);
        let long = seconds - 2.0 * SKIPPED > most as f64 * rate;
        let (first, end) = match long {
            true => ((SKIPPED * fps) as usize, ((total as f64 - SKIPPED * fps) as usize).min(last)),
            false => (0, last),
        };
        Ok(if first >= end { evenly(0, last, wanted) } else { evenly(first, end, wanted) })
    }

    /// What stands for frames, the time before each.
    fn text(taken: &Taken) -> String {
        let fps = taken.fps.unwrap_or(DEFAULT_FPS);
        let seconds = |index: usize| index as f64 / fps;
        let long = match taken.fps {
            Some(fps) => taken.total as f64 / fps,
            None => seconds(taken.indices.last().copied().unwrap_or_default()),
        };
        let count = in_words(taken.indices.len());
        let whole = duration(long as u64);
        let mut text =
            format!("You are provided the following series of {count} frames from a {whole} [H:MM:SS] video.\n");
        for index in &taken.indices {
            let at = seconds(*index);
            let (minutes, seconds) = ((at / 60.0) as u64, (at % 60.0) as u64);
            text.push_str(&format!("\nFrame from {minutes:02}:{seconds:02}:{}", Tile::text()));
        }
        text + "\n\n"
    }

    pub(super) fn count(&self, taken: &Taken) -> Result<Piece<Extent>> {
        Ok(Piece { text: Self::text(taken), runs: vec![self.tile.extent(); taken.indices.len()] })
    }

    pub(super) fn piece(&self, frames: &Frames<'_>) -> Result<Piece> {
        let mut runs = Vec::with_capacity(frames.pixels.len());
        for frame in &frames.pixels {
            let sides = [frame.height(), frame.width()];
            let resized = self.size.map(|size| self.pixels.resize(frame, size.of(sides))).transpose()?;
            let tile = self.pixels.resize(resized.as_ref().unwrap_or(frame), [self.tile.side; 2])?;
            runs.push(self.tile.run(&tile, &self.pixels));
        }
        Ok(Piece { text: Self::text(&frames.taken), runs })
    }
}

/// `count` places from the first to the last, cut to whole ones, each once.
fn evenly(first: usize, last: usize, count: usize) -> Vec<usize> {
    let step = (last - first) as f64 / (count.max(2) - 1) as f64;
    let mut places: Vec<usize> = (0..count).map(|i| (i as f64 * step + first as f64) as usize).collect();
    if let Some(end) = places.last_mut().filter(|_| count > 1) {
        *end = last;
    }
    places.dedup();
    places
}
