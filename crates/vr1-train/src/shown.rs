//! What a sample shows, as it is written down beside what was said of it.

use serde::{Deserialize, Serialize};
use vr1_data::{Media, Picture};
use vr1_run::RunFolder;

use crate::Result;

/// A picture or video of a sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Which of the two.
    pub kind: ShownKind,
    /// The BLAKE3 hash of its file, or of its pixels where it has none.
    pub blake3: String,
    /// Pixels; of a video, those of its first frame, where it is given frame by frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// The same downwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// A small JPEG to look at, from the folder of rollouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<String>,
}

/// What kind of media something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownKind {
    /// A still image.
    Image,
    /// A video.
    Video,
}

/// Where small pictures of what samples show are kept: in a run's folder, of at most so many pixels a side, or not at all for 0.
#[derive(Clone, Copy)]
pub(crate) struct Gallery<'a> {
    pub(crate) folder: &'a RunFolder,
    pub(crate) side: u32,
}

impl Gallery<'_> {
    /// What is shown, with small pictures of it.
    pub(crate) fn shown(self, media: &[Media]) -> Result<Vec<Shown>> {
        let mut all = Shown::all(media)?;
        all.iter().zip(media).try_for_each(|(shown, media)| self.keep(&shown.blake3, media))?;
        self.name(&mut all, media);
        Ok(all)
    }

    /// Keeps a small picture of what has this hash, where there is none yet. Nobody else may do so at the same time.
    pub(crate) fn keep(self, hash: &str, media: &Media) -> Result<()> {
        let (name, picture) = (file(hash), media.picture().filter(|_| self.side > 0));
        match picture {
            Some(picture) if !self.folder.shown(&name).exists() => {
                Ok(self.folder.write_shown(&name, &picture.thumbnail(self.side)?)?)
            }
            _ => Ok(()),
        }
    }

    /// Says where the small pictures are.
    pub(crate) fn name(self, all: &mut [Shown], media: &[Media]) {
        for (shown, media) in all.iter_mut().zip(media) {
            if self.side > 0 && media.picture().is_some() {
                shown.thumbnail = Some(format!("media/{}", file(&shown.blake3)));
            }
        }
    }
}

/// The name of a small picture's file.
fn file(hash: &str) -> String {
    format!("{hash}.jpg")
}

impl Shown {
    /// What is shown, each by its hash.
    pub(crate) fn all(media: &[Media]) -> Result<Vec<Self>> {
        media.iter().map(Self::new).collect()
    }

    fn new(media: &Media) -> Result<Self> {
        let kind = match media {
            Media::Video(_) => ShownKind::Video,
            _ => ShownKind::Image,
        };
        let (width, height) = media.picture().map(Picture::dimensions).transpose()?.unzip();
        Ok(Self { kind, blake3: media.hash()?, width, height, thumbnail: None })
    }
}
