use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use image::RgbImage;
use rayon::prelude::*;
use vr1_data::{Picture, Video};

use crate::resize::check_shape;
use crate::{Error, FrameSampling, ImageProcessor, Message, Part, Patches, Result, TokenType, VideoProcessor};

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

/// A piece of media ready to stand in a prompt.
#[derive(Debug)]
pub(crate) struct Piece {
    /// What stands for it: text with one placeholder for each run.
    pub(crate) text: String,
    /// The runs, in the order of their placeholders.
    pub(crate) runs: Vec<Run>,
}

/// Frames that were taken of a video.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    pub(crate) pixels: Vec<Cow<'a, RgbImage>>,
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

    /// Which frames of a video are taken.
    fn frame_indices(&self, _total: usize, _fps: Option<f64>) -> Result<Vec<usize>> {
        Err(Error::NoVideos)
    }

    /// What stands for a video.
    fn video(&self, _frames: &Frames<'_>) -> Result<Piece> {
        Err(Error::NoVideos)
    }

    /// The same, taking other frames; `None` where no videos are taken.
    fn taking(&self, _sampling: FrameSampling) -> Option<Arc<dyn Shows>> {
        None
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
        made.map_err(|reason| {
            let kind = piece.kind();
            let index = shown[..place].iter().filter(|before| before.kind() == kind).count();
            Error::Media { sample: sample.into(), kind, index, reason }
        })
    };
    shown.par_iter().enumerate().map(piece).collect()
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
    shows.video(&Frames { pixels, indices, total: clip.frames, fps: clip.fps }).map_err(|e| e.to_string())
}
