use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use image::RgbImage;
use rayon::prelude::*;
use vr1_data::{Picture, Video};

use crate::resize::{check_shape, check_sides};
use crate::{
    Error, FrameSampling, ImageProcessor, MediaSettings, Message, Part, Patches, Result, TokenType, VideoProcessor,
};

/// Something that a message shows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown<'a> {
    Image(&'a Picture),
    Video(&'a Video),
}

impl<'a> Shown<'a> {
    /// What messages show, in order.
    pub(crate) fn of(messages: &'a [Message]) -> Vec<Self> {
        let shown = |part: &'a Part| match part {
            Part::Image(picture) => Some(Self::Image(picture)),
            Part::Video(video) => Some(Self::Video(video)),
            Part::Text(_) | Part::ToolCall { .. } => None,
        };
        messages.iter().flat_map(|message| &message.parts).filter_map(shown).collect()
    }

    pub(crate) fn kind(&self) -> TokenType {
        match self {
            Self::Image(_) => TokenType::Image,
            Self::Video(_) => TokenType::Video,
        }
    }
}

/// Patches, and the tokens that stand for them side by side.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) patches: Arc<Patches>,
    /// Tokens in time, in height and in width.
    pub(crate) grid: [usize; 3],
    /// Positions in time from one temporal patch to the next, where positions follow the grid; else they go on as in text.
    pub(crate) interval: Option<f32>,
}

/// How large a run is, without its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) tokens: usize,
    pub(crate) patches: usize,
}

/// A piece of media ready to stand in a prompt; with [`Extent`]s as its runs, one that is only counted.
#[derive(Debug)]
pub(crate) struct Piece<R = Run> {
    /// What stands for it: text with one placeholder for each run.
    pub(crate) text: String,
    /// The runs, in the order of their placeholders.
    pub(crate) runs: Vec<R>,
}

/// Frames that were taken of a video.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    pub(crate) pixels: Vec<Cow<'a, RgbImage>>,
    pub(crate) taken: Taken,
}

/// Which frames were taken of a video.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Which they are.
    pub(crate) indices: Vec<usize>,
    /// How many there are of it.
    pub(crate) total: usize,
    /// How many of these make a second.
    pub(crate) fps: Option<f64>,
}

/// A family's way with pictures and videos, by a checkpoint's settings.
pub(crate) trait Shows: Debug + Send + Sync {
    /// What stands for a picture.
    fn image(&self, image: &RgbImage) -> Result<Piece>;

    /// What stands for a picture of this height and width, counted by the arithmetic of [`image`](Self::image).
    fn count_image(&self, sides: [u32; 2]) -> Result<Piece<Extent>>;

    /// Which frames of a video are taken.
    fn frame_indices(&self, _total: usize, _fps: Option<f64>) -> Result<Vec<usize>> {
        Err(Error::NoVideos)
    }

    /// What stands for a video.
    fn video(&self, _frames: &Frames<'_>) -> Result<Piece> {
        Err(Error::NoVideos)
    }

    /// What stands for frames of this height and width, counted by the arithmetic of [`video`](Self::video).
    fn count_video(&self, _taken: &Taken, _sides: [u32; 2]) -> Result<Piece<Extent>> {
        Err(Error::NoVideos)
    }

    /// The same, taking other frames; `None` where no videos are taken.
    fn taking(&self, _sampling: FrameSampling) -> Option<Arc<dyn Shows>> {
        None
    }

    /// The same with other bounds; an error where the family has none.
    fn sized(&self, settings: &MediaSettings) -> Result<Arc<dyn Shows>> {
        Err(settings.unknown())
    }

    /// The settings, where whole pictures and videos are cut into patches.
    fn patches(&self) -> Option<(&ImageProcessor, &VideoProcessor)> {
        None
    }
}

/// Reads and processes what is shown, several pieces at once where there are several cores.
pub(crate) fn pieces(shows: &dyn Shows, sample: &str, shown: &[Shown<'_>]) -> Result<Vec<Piece>> {
    let piece = |(place, piece): (usize, &Shown<'_>)| {
        let made = match piece {
            Shown::Image(picture) => image(shows, picture),
            Shown::Video(clip) => video(shows, clip),
        };
        made.map_err(|reason| refused(sample, shown, place, reason))
    };
    shown.par_iter().enumerate().map(piece).collect()
}

/// Reads how high and wide what is shown is, and counts what becomes of it.
pub(crate) fn counted(
    shows: &dyn Shows,
    sample: &str,
    shown: &[Shown<'_>],
    sides: Sides<'_>,
) -> Result<Vec<Piece<Extent>>> {
    let piece = |(place, piece): (usize, &Shown<'_>)| {
        let made = match piece {
            Shown::Image(picture) => count_image(shows, picture, sides),
            Shown::Video(clip) => count_video(shows, clip, sides),
        };
        made.map_err(|reason| refused(sample, shown, place, reason))
    };
    shown.iter().enumerate().map(piece).collect()
}

/// How a picture's width and height are found.
pub(crate) type Sides<'a> = &'a dyn Fn(&Picture) -> vr1_data::Result<(u32, u32)>;

fn refused(sample: &str, shown: &[Shown<'_>], place: usize, reason: String) -> Error {
    let kind = shown[place].kind();
    let index = shown[..place].iter().filter(|before| before.kind() == kind).count();
    Error::Media { sample: sample.into(), kind, index, reason }
}

fn count_image(shows: &dyn Shows, picture: &Picture, sides: Sides<'_>) -> std::result::Result<Piece<Extent>, String> {
    let (width, height) = sides(picture).map_err(|e| e.to_string())?;
    check_sides(height, width).map_err(|e| e.to_string())?;
    shows.count_image([height, width]).map_err(|e| e.to_string())
}

fn count_video(shows: &dyn Shows, video: &Video, sides: Sides<'_>) -> std::result::Result<Piece<Extent>, String> {
    let clip = video.clip().map_err(|e| e.to_string())?;
    let indices = shows.frame_indices(clip.frames, clip.fps).map_err(|e| e.to_string())?;
    let first = *indices.first().ok_or_else(|| Error::NoFrames.to_string())?;
    let (width, height) = match video {
        Video::Frames { frames, .. } => {
            let listed: Vec<_> = indices.iter().filter_map(|&index| frames.get(index)).map(sides).collect();
            let listed = listed.into_iter().collect::<vr1_data::Result<Vec<_>>>().map_err(|e| e.to_string())?;
            let whole = listed.first().copied().unwrap_or_default();
            if let Some(odd) = listed.iter().position(|sides| *sides != whole) {
                let ((width, height), expected) = (listed[odd], [whole.1 as usize, whole.0 as usize]);
                return Err(Error::FrameSize { frame: odd, height, width, expected }.to_string());
            }
            whole
        }
        _ => video
            .frames(&[first])
            .map_err(|e| e.to_string())?
            .first()
            .map(|frame| frame.dimensions())
            .unwrap_or_default(),
    };
    let taken = Taken { indices, total: clip.frames, fps: clip.fps };
    shows.count_video(&taken, [height, width]).map_err(|e| e.to_string())
}

fn image(shows: &dyn Shows, picture: &Picture) -> std::result::Result<Piece, String> {
    let pixels = picture.load().map_err(|e| e.to_string())?;
    check_shape(&pixels).map_err(|e| e.to_string())?;
    shows.image(&pixels).map_err(|e| e.to_string())
}

fn video(shows: &dyn Shows, video: &Video) -> std::result::Result<Piece, String> {
    let clip = video.clip().map_err(|e| e.to_string())?;
    let indices = shows.frame_indices(clip.frames, clip.fps).map_err(|e| e.to_string())?;
    let pixels = video.frames(&indices).map_err(|e| e.to_string())?;
    let taken = Taken { indices, total: clip.frames, fps: clip.fps };
    shows.video(&Frames { pixels, taken }).map_err(|e| e.to_string())
}
