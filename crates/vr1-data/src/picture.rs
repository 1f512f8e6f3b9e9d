use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use crate::tiff::Values;
use crate::{Error, Result, bmp, encoded, gif, jpeg, tiff};

/// The most pixels an image file may claim: Pillow's warning threshold, a quarter of a GiB at one byte a channel.
///
/// It is checked on the header, before memory is taken for the pixels, so a decompression bomb costs nothing.
pub const MAX_PIXELS: u64 = 89_478_485;

/// An image: still in its file, still encoded, or already pixels.
#[derive(Debug, Clone)]
pub enum Picture {
    /// A file, decoded when it is needed.
    File(PathBuf),
    /// A file's bytes that stood in a row.
    Encoded {
        /// PNG, JPEG or whatever else a file may hold.
        bytes: Arc<[u8]>,
        /// Where they stood, for errors.
        at: Arc<Path>,
    },
    /// Pixels, shared between the samples that show them.
    Pixels(Arc<RgbImage>),
}

impl Picture {
    /// The picture as 8-bit RGB, turned the way its EXIF orientation says, or where EXIF says none, that of its XMP.
    ///
    /// Other pixel formats become RGB as Pillow's `convert("RGB")` makes them: grey is repeated, a palette is looked
    /// up, alpha is dropped without blending, 16-bit colour keeps its high byte, and 16-bit grey is clipped at 255.
    /// Of an animation the first frame is taken. The file's content decides its format, not its name.
    ///
    /// # Errors
    /// When the file is missing, is no image, is cut short, or claims more than [`MAX_PIXELS`]; the file is named.
    pub fn load(&self) -> Result<Cow<'_, RgbImage>> {
        match self {
            Self::Pixels(pixels) => Ok(Cow::Borrowed(pixels)),
            Self::File(path) => {
                let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
                decode(path, &bytes).map(Cow::Owned)
            }
            Self::Encoded { bytes, at } => decode(at, bytes).map(Cow::Owned),
        }
    }

    /// Width and height in pixels as [`load`](Self::load) gives them, read from the file's header alone.
    ///
    /// # Errors
    /// As [`load`](Self::load), except that damage behind the header goes unnoticed.
    pub fn dimensions(&self) -> Result<(u32, u32)> {
        match self {
            Self::Pixels(pixels) => Ok(pixels.dimensions()),
            Self::File(_) | Self::Encoded { .. } => self.glance().map(|seen| (seen.width, seen.height)),
        }
    }

    /// The same by the header as the file's decoder reads it.
    pub(crate) fn decoder_dimensions(&self) -> Result<(u32, u32)> {
        match self {
            Self::Pixels(pixels) => Ok(pixels.dimensions()),
            Self::File(path) => {
                let file = File::open(path).map_err(|e| Error::io(path, e))?;
                dimensions(path, BufReader::new(file))
            }
            Self::Encoded { bytes, at } => dimensions(at, Cursor::new(bytes)),
        }
    }
}

impl Picture {
    /// The picture as a JPEG file of at most `side` pixels a side, to be looked at.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn thumbnail(&self, side: u32) -> Result<Vec<u8>> {
        let picture = self.load()?;
        let small = match picture.width().max(picture.height()) > side {
            true => DynamicImage::ImageRgb8(picture.into_owned()).thumbnail(side, side).into_rgb8(),
            false => picture.into_owned(),
        };
        let mut bytes = Vec::new();
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 85);
        let undecodable = |source| Error::Image { path: PathBuf::from("a thumbnail"), source };
        small.write_with_encoder(encoder).map_err(undecodable)?;
        Ok(bytes)
    }

    /// The BLAKE3 hash of the picture as it is given: of its file, or of its pixels where there is no file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn hash(&self) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        match self {
            Self::File(path) => {
                let read = File::open(path).and_then(|file| hasher.update_reader(file).map(drop));
                read.map_err(|error| Error::io(path, error))?;
            }
            Self::Encoded { bytes, .. } => drop(hasher.update(bytes)),
            Self::Pixels(pixels) => {
                hasher.update(&pixels.width().to_le_bytes()).update(&pixels.height().to_le_bytes());
                hasher.update(pixels.as_raw());
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }
}

/// A picture as the bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureFile {
    /// A PNG's or a JPEG's.
    pub bytes: Arc<[u8]>,
    /// How the name of such a file ends: `png` or `jpg`.
    pub extension: &'static str,
}

impl PictureFile {
    /// The bytes as a data URI.
    ///
    /// ```
    /// let picture = vr1_data::Picture::from(image::RgbImage::new(1, 1));
    /// assert!(picture.file()?.data_uri().starts_with("data:image/png;base64,iVBORw0KGgo"));
    /// # Ok::<(), vr1_data::Error>(())
    /// ```
    #[must_use]
    pub fn data_uri(&self) -> String {
        let kind = if self.extension == "jpg" { "image/jpeg" } else { "image/png" };
        encoded::data_uri(kind, &self.bytes)
    }
}

impl Picture {
    /// The picture as a file that every program shows as [`load`](Self::load) does: as it is, where it is a PNG or a JPEG that is
    /// not turned, and as a PNG of its pixels otherwise.
    ///
    /// # Errors
    /// As [`load`](Self::load), except that damage behind the header of a file that stays as it is goes unnoticed.
    pub fn file(&self) -> Result<PictureFile> {
        let (at, bytes): (&Path, Arc<[u8]>) = match self {
            Self::Pixels(pixels) => return png(pixels),
            Self::File(path) => (path, std::fs::read(path).map_err(|e| Error::io(path, e))?.into()),
            Self::Encoded { bytes, at } => (at, bytes.clone()),
        };
        let (mut decoder, format) = open(at, Cursor::new(&bytes))?;
        let extension = match format {
            ImageFormat::Png => "png",
            ImageFormat::Jpeg => "jpg",
            _ => return png(&decode(at, &bytes)?),
        };
        match orientation(at, &mut decoder, format)? {
            Orientation::NoTransforms => {
                drop(decoder);
                Ok(PictureFile { bytes, extension })
            }
            _ => png(&decode(at, &bytes)?),
        }
    }
}

fn png(pixels: &RgbImage) -> Result<PictureFile> {
    let mut bytes = Cursor::new(Vec::new());
    let unwritable = |source| Error::Image { path: PathBuf::from("a picture as PNG"), source };
    pixels.write_to(&mut bytes, ImageFormat::Png).map_err(unwritable)?;
    Ok(PictureFile { bytes: bytes.into_inner().into(), extension: "png" })
}

impl From<RgbImage> for Picture {
    fn from(pixels: RgbImage) -> Self {
        Self::Pixels(Arc::new(pixels))
    }
}

fn dimensions(path: &Path, bytes: impl BufRead + Seek) -> Result<(u32, u32)> {
    let (mut decoder, format) = open(path, bytes)?;
    let (width, height) = decoder.dimensions();
    let turned = swaps_sides(orientation(path, &mut decoder, format)?);
    Ok(if turned { (height, width) } else { (width, height) })
}

fn open<'a, R: BufRead + Seek + 'a>(path: &Path, bytes: R) -> Result<(impl ImageDecoder + use<'a, R>, ImageFormat)> {
    let undecodable = |source| Error::Image { path: path.to_owned(), source };
    let mut reader = ImageReader::new(bytes).with_guessed_format().map_err(|e| Error::io(path, e))?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 8 + (1 << 26)); // the largest pixel (RGBA of 16 bits) and room for the decoder
    reader.limits(limits);
    let format = reader.format().unwrap_or(ImageFormat::Png); // without a format the next line is an error
    let decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    check_pixels(path, width, height)?;
    Ok((decoder, format))
}

/// Refuses more pixels than [`MAX_PIXELS`].
pub(crate) fn check_pixels(path: &Path, width: u32, height: u32) -> Result<()> {
    match u64::from(width) * u64::from(height) <= MAX_PIXELS {
        true => Ok(()),
        false => Err(Error::TooManyPixels { path: path.to_owned(), width, height, limit: MAX_PIXELS }),
    }
}

/// How the picture is turned: as EXIF says, or where EXIF does not say it, as XMP does.
fn orientation(path: &Path, decoder: &mut impl ImageDecoder, format: ImageFormat) -> Result<Orientation> {
    let undecodable = |source| Error::Image { path: path.to_owned(), source };
    let said = decoder.orientation().map_err(undecodable)?;
    // A TIFF has the tag of its own, and of a GIF Pillow reads no XMP.
    if said != Orientation::NoTransforms || !matches!(format, ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)
    {
        return Ok(said);
    }
    let exif = decoder.exif_metadata().map_err(undecodable)?;
    if exif.is_some_and(|exif| Orientation::from_exif_chunk(&exif).is_some()) {
        return Ok(said);
    }
    let xmp = decoder.xmp_metadata().map_err(undecodable)?;
    Ok(xmp.and_then(|xmp| in_xmp(&xmp)).and_then(Orientation::from_exif).unwrap_or(said))
}

/// The orientation in XMP, an attribute or an element.
pub(crate) fn in_xmp(xmp: &[u8]) -> Option<u8> {
    const KEY: &[u8] = b"tiff:Orientation";
    let number = |rest: &[u8]| {
        let rest = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        rest.first().filter(|digit| digit.is_ascii_digit()).map(|digit| digit - b'0')
    };
    xmp.windows(KEY.len()).enumerate().filter(|(_, key)| *key == KEY).find_map(|(at, _)| number(&xmp[at + KEY.len()..]))
}

pub(crate) fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

fn decode(path: &Path, bytes: &[u8]) -> Result<RgbImage> {
    let undecodable = |source| Error::Image { path: path.to_owned(), source };
    let (mut decoder, format) = open(path, Cursor::new(bytes))?;
    if format == ImageFormat::Jpeg && jpeg::is_cut_short(bytes) {
        let end = std::io::Error::new(ErrorKind::UnexpectedEof, "the file ends before the picture does");
        return Err(undecodable(end.into()));
    }
    let orientation = orientation(path, &mut decoder, format)?;
    let decoded = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    let rgb = as_pillow(format, bytes, decoded).map_err(|reason| {
        let hint = image::error::ImageFormatHint::Exact(format);
        let kind = image::error::UnsupportedErrorKind::GenericFeature(reason.to_owned());
        undecodable(image::ImageError::Unsupported(image::error::UnsupportedError::from_format_and_kind(hint, kind)))
    })?;
    let mut turned = DynamicImage::ImageRgb8(rgb);
    turned.apply_orientation(orientation);
    Ok(turned.into_rgb8())
}

/// What was decoded as Pillow's RGB, where its decoders read a format otherwise too.
fn as_pillow(format: ImageFormat, bytes: &[u8], decoded: DynamicImage) -> Result<RgbImage, &'static str> {
    match format {
        ImageFormat::Gif => {
            let (mut rgb, frame) = (to_rgb(decoded)?, gif::Frame::first(bytes));
            if frame.is_some_and(|frame| !frame.is_within(rgb.width(), rgb.height())) {
                return Err("a frame that is larger than its canvas");
            }
            for (x, y, pixel) in rgb.enumerate_pixels_mut() {
                pixel.0 = frame.and_then(|frame| frame.outside(x, y)).unwrap_or(pixel.0);
            }
            Ok(rgb)
        }
        ImageFormat::Bmp => {
            let mut rgb = to_rgb(decoded)?;
            if let Some(levels) = bmp::levels_of_16_bits(bytes) {
                rgb.pixels_mut().for_each(|p| (0..3).for_each(|c| p.0[c] = bmp::rounded_down(p.0[c], levels[c])));
            }
            Ok(rgb)
        }
        ImageFormat::Tiff => match (tiff::values(bytes), decoded) {
            (Values::Unread(what), _) => Err(what),
            (Values::Premultiplied, DynamicImage::ImageRgba8(p)) => Ok(map(&p, |p| unmultiplied(p.0))),
            (Values::Premultiplied, DynamicImage::ImageRgba16(p)) => Ok(map(&p, |p| unmultiplied(p.0.map(high)))),
            (_, decoded) => to_rgb(decoded),
        },
        _ => to_rgb(decoded),
    }
}

fn unmultiplied([r, g, b, alpha]: [u8; 4]) -> [u8; 3] {
    [r, g, b].map(|value| tiff::unmultiplied(value, alpha))
}

fn high(value: u16) -> u8 {
    (value >> 8) as u8
}

/// Pillow's `convert("RGB")`, for every pixel format a decoder can give.
fn to_rgb(decoded: DynamicImage) -> Result<RgbImage, &'static str> {
    Ok(match decoded {
        DynamicImage::ImageRgb8(pixels) => pixels,
        DynamicImage::ImageLuma16(grey) => {
            let clipped = grey.as_raw().iter().map(|&v| v.min(255) as u8).collect();
            let grey = GrayImage::from_raw(grey.width(), grey.height(), clipped);
            DynamicImage::ImageLuma8(grey.expect("as many values as pixels")).into_rgb8()
        }
        DynamicImage::ImageLumaA16(p) => map(&p, |p| [high(p.0[0]); 3]),
        DynamicImage::ImageRgb16(p) => map(&p, |p| p.0.map(high)),
        DynamicImage::ImageRgba16(p) => map(&p, |p| [high(p.0[0]), high(p.0[1]), high(p.0[2])]),
        DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_) => return Err("colours of 32-bit floats"),
        other => other.into_rgb8(),
    })
}

fn map<P: image::Pixel>(pixels: &image::ImageBuffer<P, Vec<P::Subpixel>>, rgb: impl Fn(&P) -> [u8; 3]) -> RgbImage {
    RgbImage::from_fn(pixels.width(), pixels.height(), |x, y| image::Rgb(rgb(pixels.get_pixel(x, y))))
}
