use serde::{Deserialize, Serialize};

use crate::{Error, FrameSampling, ImageProcessor, Result, VideoProcessor};

/// How large media are shown, where that is another than a checkpoint's own settings say; what is `None` is as they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MediaSettings {
    /// The least area of a picture after resizing, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_pixels: Option<u64>,
    /// The greatest area of a picture after resizing, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pixels: Option<u64>,
    /// Of videos.
    #[serde(skip_serializing_if = "VideoSettings::is_unsaid")]
    pub video: VideoSettings,
}

/// The same of videos.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VideoSettings {
    /// How many frames are taken, evenly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<usize>,
    /// The least area of a frame after resizing, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_pixels: Option<u64>,
    /// The greatest area of a frame after resizing, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pixels: Option<u64>,
}

/// What names these settings in errors, as a recipe does.
const ORIGIN: &str = "media";

impl MediaSettings {
    /// Whether nothing is said.
    pub fn is_unsaid(&self) -> bool {
        *self == Self::default()
    }

    /// The settings for pictures with what is said here.
    pub(crate) fn images(&self, images: &ImageProcessor) -> Result<ImageProcessor> {
        bounded(images, self.min_pixels, self.max_pixels, ORIGIN)
    }

    /// The settings for videos with what is said here.
    pub(crate) fn videos(&self, videos: &VideoProcessor) -> Result<VideoProcessor> {
        let said = self.video;
        let sampling = match said.frames {
            Some(0) => return Err(refused("video.frames", "0 is not one frame".into())),
            Some(count) => FrameSampling::Count(count),
            None => videos.sampling,
        };
        let frames = bounded(&videos.frames, said.min_pixels, said.max_pixels, "media.video")?;
        Ok(VideoProcessor { sampling, frames, ..videos.clone() })
    }

    /// The error of a family that has no such settings.
    pub(crate) fn unknown(&self) -> Error {
        let reason = "this model's family has no bounds of pixels and no number of frames to set".to_owned();
        let said = [("min_pixels", self.min_pixels.is_some()), ("max_pixels", self.max_pixels.is_some())];
        let key = said.iter().find(|(_, said)| *said).map_or("video", |(key, _)| *key);
        refused(key, reason)
    }
}

impl VideoSettings {
    fn is_unsaid(&self) -> bool {
        *self == Self::default()
    }
}

fn bounded(images: &ImageProcessor, min: Option<u64>, max: Option<u64>, origin: &str) -> Result<ImageProcessor> {
    let (min_pixels, max_pixels) = (min.unwrap_or(images.min_pixels), max.unwrap_or(images.max_pixels));
    let bounded = ImageProcessor { min_pixels, max_pixels, ..images.clone() };
    bounded.validate(origin)?;
    Ok(bounded)
}

fn refused(key: &str, reason: String) -> Error {
    Error::Setting { file: ORIGIN.into(), key: key.into(), reason }
}
