use std::sync::Arc;

use crate::{ImageProcessor, VideoProcessor};
use rayon::prelude::*;
use vr1_data::{Picture, Video};

use crate::prompt::Piece;
use crate::{Error, Message, Part, Result, TokenType};

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

/// What makes patches of media.
#[derive(Debug, Clone)]
pub(crate) struct MediaProcessor {
    pub(crate) images: ImageProcessor,
    pub(crate) videos: VideoProcessor,
    /// How many positions in time make a second, in models that count seconds.
    pub(crate) tokens_per_second: Option<f64>,
}

impl MediaProcessor {
    /// Videos as the image settings say.
    pub(crate) fn new(images: ImageProcessor) -> Self {
        Self { videos: VideoProcessor::of_frames(images.clone()), images, tokens_per_second: None }
    }

    /// Reads and processes what is shown, several pieces at once where there are several cores.
    pub(crate) fn pieces(&self, sample: &str, shown: &[Shown<'_>]) -> Result<Vec<Piece>> {
        let piece = |(place, piece): (usize, &Shown<'_>)| {
            let made = match piece {
                Shown::Image(picture) => self.image(picture),
                Shown::Video(video) => self.video(video),
            };
            made.map_err(|reason| {
                let kind = piece.kind();
                let index = shown[..place].iter().filter(|before| before.kind() == kind).count();
                Error::Media { sample: sample.into(), kind, index, reason }
            })
        };
        shown.par_iter().enumerate().map(piece).collect()
    }

    fn image(&self, picture: &Picture) -> std::result::Result<Piece, String> {
        let pixels = picture.load().map_err(|e| e.to_string())?;
        let patches = self.images.process(&pixels).map_err(|e| e.to_string())?;
        let merge_size = self.images.merge_size;
        Ok(Piece { kind: TokenType::Image, patches: Arc::new(patches), merge_size, interval: 1.0 })
    }

    fn video(&self, video: &Video) -> std::result::Result<Piece, String> {
        let clip = video.clip().map_err(|e| e.to_string())?;
        let indices = self.videos.frame_indices(clip.frames, clip.fps).map_err(|e| e.to_string())?;
        let frames = video.frames(&indices).map_err(|e| e.to_string())?;
        let patches = self.videos.process(&frames).map_err(|e| e.to_string())?;
        let seconds = self.videos.seconds_per_grid(indices.len(), clip.frames, clip.fps);
        let merge_size = self.videos.frames.merge_size;
        // In f32, as transformers multiplies them.
        let interval = self.tokens_per_second.map_or(1.0, |tokens| tokens as f32 * seconds as f32);
        Ok(Piece { kind: TokenType::Video, patches: Arc::new(patches), merge_size, interval })
    }
}
