use std::collections::HashMap;
use std::path::Path;

use crate::{Error, Glance, Picture, Result};

/// Tells equal pictures from others by the bytes of their files: equal ones have one number.
///
/// A file is read whole only where another of its length begins and ends as it does.
///
/// ```
/// use vr1_data::{Album, Picture};
///
/// let [red, blue] = [[255, 0, 0], [0, 0, 255]].map(|c| Picture::from(image::RgbImage::from_pixel(4, 4, image::Rgb(c))));
/// let mut album = Album::default();
/// let mut number = |picture: &Picture| album.number(picture, &picture.glance()?);
/// assert_eq!([number(&red)?, number(&blue)?, number(&red)?], [0, 1, 0]);
/// # Ok::<(), vr1_data::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Album {
    known: HashMap<u64, Vec<Known>>,
    count: u32,
}

#[derive(Debug)]
struct Known {
    number: u32,
    /// Where the file is, or what its bytes hash to, once that is known.
    file: Option<Box<Path>>,
    digest: Option<blake3::Hash>,
}

/// A shorter file is whole in its mark.
const MARKED: u64 = 4096;

impl Album {
    /// The picture's number: that of an equal one, or the next.
    ///
    /// # Errors
    /// When a file that has to be read whole cannot be.
    pub fn number(&mut self, picture: &Picture, seen: &Glance) -> Result<u32> {
        let entries = self.known.entry(seen.mark).or_default();
        let file = match picture {
            Picture::File(path) => Some(path.as_path()),
            Picture::Encoded { .. } | Picture::Pixels(_) => None,
        };
        let marked = seen.bytes <= MARKED || matches!(picture, Picture::Pixels(_));
        if let Some(known) = entries.iter().find(|known| marked || (file.is_some() && known.file.as_deref() == file)) {
            return Ok(known.number);
        }
        let lies_elsewhere = file.is_none() && !marked;
        let digest = match lies_elsewhere || !entries.is_empty() {
            true => Some(digest(picture)?),
            false => None,
        };
        for known in entries.iter_mut() {
            if let (None, Some(file)) = (known.digest, &known.file) {
                known.digest = Some(digest_of(file)?);
            }
            if known.digest == digest {
                return Ok(known.number);
            }
        }
        let number = self.count;
        self.count += 1;
        entries.push(Known { number, file: file.map(Box::from), digest });
        Ok(number)
    }

    /// How many different pictures there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

fn digest(picture: &Picture) -> Result<blake3::Hash> {
    match picture {
        Picture::File(path) => digest_of(path),
        Picture::Encoded { bytes, .. } => Ok(blake3::hash(bytes)),
        Picture::Pixels(pixels) => Ok(blake3::hash(pixels.as_raw())),
    }
}

fn digest_of(path: &Path) -> Result<blake3::Hash> {
    Ok(blake3::hash(&std::fs::read(path).map_err(|e| Error::io(path, e))?))
}
