//! What the beginning and the end of a picture's file say, without what is between.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use image::metadata::Orientation;

use crate::picture::{check_pixels, in_xmp, swaps_sides};
use crate::{Error, Picture, Result};

/// What the beginning and the end of a picture's file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// Width in pixels, as [`Picture::load`] gives it.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Length of the file.
    pub bytes: u64,
    /// Whether the file begins and ends as whole ones of its kind do. Where it does not, and of TIFF always, only decoding tells.
    pub whole: bool,
    /// A hash of length, beginning and end: equal of equal files, and of others hardly ever.
    pub mark: u64,
}

/// How much of a file is read at once at its beginning, and how much of its end counts for the mark.
const HEAD: usize = 4096;
const TAIL: u64 = 1024;

impl Picture {
    /// Looks at the beginning and the end of the file; of a JPEG or PNG nothing between is read, so that it takes some
    /// microseconds, however large the picture is.
    ///
    /// # Errors
    /// As [`dimensions`](Self::dimensions).
    pub fn glance(&self) -> Result<Glance> {
        match self {
            Self::Pixels(pixels) => {
                let mut mark = DefaultHasher::new();
                mark.write_u32(pixels.width());
                mark.write(pixels.as_raw());
                let (width, height) = pixels.dimensions();
                let bytes = pixels.as_raw().len() as u64;
                Ok(Glance { width, height, bytes, whole: true, mark: mark.finish() })
            }
            Self::File(path) => {
                let open = || Window::of_file(File::open(path)?);
                self.seen(path, open().map_err(|e| Error::io(path, e))?)
            }
            Self::Encoded { bytes, at } => self.seen(at, Window::of_bytes(bytes)),
        }
    }

    fn seen(&self, path: &Path, mut window: Window<'_>) -> Result<Glance> {
        let unread = |e| Error::io(path, e);
        let tail = window.tail().map_err(unread)?;
        let found = match window.beginning() {
            [0xff, 0xd8, ..] => jpeg(&mut window).map_err(unread)?,
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => png(&mut window).map_err(unread)?,
            _ => None,
        };
        let mut mark = DefaultHasher::new();
        mark.write_u64(window.length);
        mark.write(&window.beginning()[..window.beginning().len().min(HEAD)]);
        mark.write(&tail);
        let (width, height) = match found {
            Some((width, height)) => {
                check_pixels(path, width, height)?;
                (width, height)
            }
            None => self.decoder_dimensions()?,
        };
        let whole = ends(window.beginning(), &tail, window.length);
        Ok(Glance { width, height, bytes: window.length, whole, mark: mark.finish() })
    }
}

/// Whether a file ends as whole ones of its kind do.
fn ends(head: &[u8], tail: &[u8], length: u64) -> bool {
    let long = |at: usize| head.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes).map(u64::from);
    match head {
        [0xff, 0xd8, ..] => tail.ends_with(&[0xff, 0xd9]),
        [0x89, b'P', b'N', b'G', ..] => tail.ends_with(b"\0\0\0\0IEND\xaeB`\x82"),
        [b'G', b'I', b'F', ..] => tail.ends_with(&[0x3b]),
        [b'R', b'I', b'F', b'F', ..] => long(4).is_some_and(|said| said + 8 == length),
        [b'B', b'M', ..] => long(2).is_some_and(|said| said == length),
        _ => false,
    }
}

/// A file of which parts are read when they are asked for.
struct Window<'a> {
    from: From<'a>,
    length: u64,
}

enum From<'a> {
    Bytes(&'a [u8]),
    File { file: File, head: Vec<u8> },
}

impl<'a> Window<'a> {
    fn of_bytes(bytes: &'a [u8]) -> Self {
        Self { from: From::Bytes(bytes), length: bytes.len() as u64 }
    }

    fn of_file(mut file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut head = vec![0; HEAD.min(length as usize)];
        file.read_exact(&mut head)?;
        Ok(Self { from: From::File { file, head }, length })
    }

    /// What was read at first, or all that there is.
    fn beginning(&self) -> &[u8] {
        match &self.from {
            From::Bytes(bytes) => bytes,
            From::File { head, .. } => head,
        }
    }

    /// So many bytes from a place on; none where there are not so many.
    fn at(&mut self, at: u64, count: usize) -> io::Result<Option<Vec<u8>>> {
        if at.saturating_add(count as u64) > self.length {
            return Ok(None);
        }
        if let Some(read) = self.beginning().get(at as usize..at as usize + count) {
            return Ok(Some(read.to_vec()));
        }
        match &mut self.from {
            From::Bytes(_) => Ok(None),
            From::File { file, .. } => {
                file.seek(SeekFrom::Start(at))?;
                let mut bytes = vec![0; count];
                file.read_exact(&mut bytes)?;
                Ok(Some(bytes))
            }
        }
    }

    fn tail(&mut self) -> io::Result<Vec<u8>> {
        let from = self.length.saturating_sub(TAIL);
        Ok(self.at(from, (self.length - from) as usize)?.unwrap_or_default())
    }
}

/// Width and height of a JPEG as it is turned; none where anything about it is unusual, for its decoder to judge.
fn jpeg(window: &mut Window<'_>) -> io::Result<Option<(u32, u32)>> {
    let (mut at, mut sides, mut exif, mut xmp) = (2, None, None, None);
    loop {
        let Some(bytes) = window.at(at, 4)? else { return Ok(None) };
        let (marker, length) = (bytes[1], usize::from(u16::from_be_bytes([bytes[2], bytes[3]])));
        if bytes[0] != 0xff || length < 2 {
            return Ok(None);
        }
        match marker {
            0xc0..=0xc2 => {
                let Some(frame) = window.at(at + 4, 6)? else { return Ok(None) };
                let side = |i: usize| u32::from(u16::from_be_bytes([frame[i], frame[i + 1]]));
                if frame[0] != 8 || !matches!(frame[5], 1 | 3 | 4) || side(1) == 0 || side(3) == 0 || sides.is_some() {
                    return Ok(None);
                }
                sides = Some((side(3), side(1)));
            }
            0xe1 => {
                let Some(said) = window.at(at + 4, length - 2)? else { return Ok(None) };
                if let Some(said) = said.strip_prefix(b"Exif\0\0") {
                    // Of several it is for the decoder to say which counts.
                    if exif.replace(said.to_vec()).is_some() {
                        return Ok(None);
                    }
                } else if let Some(said) = said.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0")
                    && xmp.replace(said.to_vec()).is_some()
                {
                    return Ok(None);
                }
            }
            0xda => break,
            0xc4 | 0xdb | 0xdd | 0xe0..=0xef | 0xfe => {}
            _ => return Ok(None),
        }
        at += 2 + length as u64;
    }
    let turned = match exif.and_then(|exif| Orientation::from_exif_chunk(&exif)) {
        Some(orientation) => orientation,
        None => xmp.and_then(|xmp| in_xmp(&xmp)).and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms),
    };
    Ok(sides.map(|(width, height)| if swaps_sides(turned) { (height, width) } else { (width, height) }))
}

/// The same of a PNG.
fn png(window: &mut Window<'_>) -> io::Result<Option<(u32, u32)>> {
    let Some(header) = window.at(8, 25)? else { return Ok(None) };
    let long = |i: usize| u32::from_be_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
    let known = match (header[17], header[16]) {
        (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) | (2 | 4 | 6, 8 | 16) => {
            header[18..20] == [0, 0] && header[20] < 2
        }
        _ => false,
    };
    let (width, height) = (long(8), long(12));
    if long(0) != 13
        || &header[4..8] != b"IHDR"
        || !known
        || width == 0
        || height == 0
        || crc(&header[4..21]) != long(21)
    {
        return Ok(None);
    }
    let mut at = 33;
    loop {
        let Some(chunk) = window.at(at, 8)? else { return Ok(None) };
        let length = u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        match &chunk[4..] {
            b"IDAT" => return Ok(Some((width, height))),
            // What may say how the picture is turned is for its decoder.
            b"eXIf" | b"iTXt" | b"IEND" => return Ok(None),
            _ => at += 12 + u64::from(length),
        }
    }
}

/// The checksum of a chunk of PNG.
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(!0, step)
}
