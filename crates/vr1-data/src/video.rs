use std::borrow::Cow;
use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use image::RgbImage;

use crate::{Error, Picture, Result, ffmpeg};

/// The most pixels that the frames taken of one video may have together: 3 GiB at one byte a channel.
pub const MAX_VIDEO_PIXELS: u64 = 1 << 30;

/// The names that picture files end in.
const PICTURES: [&str; 8] = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"];

/// A video: its frames one by one, or a file that `ffmpeg` decodes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Video {
    /// Frames in the order they are shown.
    Frames {
        /// The frames.
        frames: Vec<Picture>,
        /// How many there are a second, where that is known.
        fps: Option<f64>,
    },
    /// A file, decoded when it is needed by the `ffmpeg` that is on `PATH`.
    File(PathBuf),
}

/// What is known of a video before its pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip {
    /// How many frames it has.
    pub frames: usize,
    /// How many there are a second on average, where that is known.
    pub fps: Option<f64>,
}

impl Video {
    /// The video at a path: a folder of frames, or a file.
    ///
    /// Of a folder every picture file is a frame, in the order of their names with numbers compared as numbers: `f2.png`
    /// comes before `f10.png`. Other files in it are not looked at, nor is what begins with a dot.
    ///
    /// # Errors
    /// When nothing is there, or a folder holds no picture.
    pub fn open(path: &Path) -> Result<Self> {
        let metadata = path.metadata().map_err(|e| Error::io(path, e))?;
        if !metadata.is_dir() {
            return Ok(Self::File(path.to_owned()));
        }
        let mut frames = Vec::new();
        for entry in path.read_dir().map_err(|e| Error::io(path, e))? {
            let file = entry.map_err(|e| Error::io(path, e))?.path();
            let ending = file.extension().map(|ending| ending.to_string_lossy().to_lowercase());
            let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden && file.is_file() && ending.is_some_and(|ending| PICTURES.contains(&ending.as_str())) {
                frames.push(file);
            }
        }
        if frames.is_empty() {
            let reason = format!(
                "a folder without frames (files that end in {}, and do not begin with a dot)",
                PICTURES.join(", ")
            );
            return Err(Error::Video { path: path.to_owned(), reason });
        }
        frames.sort_by(|a, b| by_number(&a.to_string_lossy(), &b.to_string_lossy()));
        Ok(Self::Frames { frames: frames.into_iter().map(Picture::File).collect(), fps: None })
    }

    /// How many frames there are, and how many a second.
    ///
    /// # Errors
    /// When a file cannot be decoded, or `ffmpeg` is not on the machine.
    pub fn clip(&self) -> Result<Clip> {
        match self {
            Self::Frames { frames, fps } => Ok(Clip { frames: frames.len(), fps: *fps }),
            Self::File(path) => ffmpeg::clip(path),
        }
    }

    /// The frames at `indices`, in rising order, as 8-bit RGB.
    ///
    /// # Errors
    /// When a frame cannot be read or there is no such frame, and when all of them have more than
    /// [`MAX_VIDEO_PIXELS`].
    pub fn frames(&self, indices: &[usize]) -> Result<Vec<Cow<'_, RgbImage>>> {
        match self {
            Self::File(path) => Ok(ffmpeg::frames(path, indices)?.into_iter().map(Cow::Owned).collect()),
            Self::Frames { frames, .. } => {
                if let Some(Picture::File(path)) = frames.first() {
                    let (width, height) = frames[0].dimensions()?;
                    check_video(path, indices.len(), width, height)?;
                }
                let frame = |&index: &usize| match frames.get(index) {
                    Some(picture) => picture.load(),
                    None => Err(Error::Index { dataset: "a video".into(), index, len: frames.len() }),
                };
                indices.iter().map(frame).collect()
            }
        }
    }
}

/// Refuses more frames than [`MAX_VIDEO_PIXELS`] allows, before memory is taken for them.
pub(crate) fn check_video(path: &Path, frames: usize, width: u32, height: u32) -> Result<()> {
    let pixels = frames as u64 * u64::from(width) * u64::from(height);
    match pixels <= MAX_VIDEO_PIXELS {
        true => Ok(()),
        false => Err(Error::Video {
            path: path.to_owned(),
            reason: format!(
                "{frames} frames of {width}x{height} pixels are more than the limit of {MAX_VIDEO_PIXELS} pixels; take \
                 fewer frames"
            ),
        }),
    }
}

/// Names in order, runs of digits compared as the numbers they are.
fn by_number(a: &str, b: &str) -> Ordering {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (mut x, mut y) = (a, b);
    while let (Some(first), Some(second)) = (x.chars().next(), y.chars().next()) {
        let (n, m) = (digits(x), digits(y));
        let (order, cut) = if n > 0 && m > 0 {
            let (p, q) = (x[..n].trim_start_matches('0'), y[..m].trim_start_matches('0'));
            (p.len().cmp(&q.len()).then_with(|| p.cmp(q)), [n, m])
        } else {
            (first.cmp(&second), [first.len_utf8(), second.len_utf8()])
        };
        if order != Ordering::Equal {
            return order;
        }
        (x, y) = (&x[cut[0]..], &y[cut[1]..]);
    }
    x.len().cmp(&y.len()).then_with(|| a.cmp(b))
}
