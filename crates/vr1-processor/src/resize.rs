use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use crate::{Error, Result, pillow};

/// The largest ratio of an image's sides.
pub(crate) const MAX_ASPECT: f64 = 200.0;

/// The height and width an image is resized to: multiples of `factor`, at about the image's aspect ratio, with an area
/// between `min_pixels` and `max_pixels`.
///
/// Each side is first rounded to the nearest multiple of `factor` (a tie goes to the even multiple). Where that area
/// is above `max_pixels` both sides shrink by `beta = sqrt(height * width / max_pixels)` and round down (to at least
/// one `factor`); where it is below `min_pixels` they grow by the inverse ratio and round up. Of a very long image the
/// area may stay above `max_pixels`, because no side falls below one `factor`.
///
/// The rule is that of Qwen2-VL (arXiv 2409.12191, "naive dynamic resolution") as transformers computes it.
///
/// # Errors
/// When a side is zero, when one side is more than 200 times the other, or when the bounds leave no room for one
/// multiple of `factor`.
///
/// # Example
/// ```
/// use vr1_processor::smart_resize;
/// assert_eq!(smart_resize(100, 150, 28, 3136, 1_003_520)?, (112, 140)); // 100 / 28 = 3.57 → 4, 150 / 28 = 5.36 → 5
/// assert_eq!(smart_resize(1, 1, 28, 3136, 1_003_520)?, (56, 56));       // one pixel grows to the least area
/// # Ok::<(), vr1_processor::Error>(())
/// ```
pub fn smart_resize(height: u32, width: u32, factor: u32, min_pixels: u64, max_pixels: u64) -> Result<(u32, u32)> {
    check_sides(height, width)?;
    let (h, w, f) = (f64::from(height), f64::from(width), f64::from(factor));
    let area = |h: f64, w: f64| h * w;
    let (mut to_h, mut to_w) = ((h / f).round_ties_even() * f, (w / f).round_ties_even() * f);
    if area(to_h, to_w) > max_pixels as f64 {
        let beta = (h * w / max_pixels as f64).sqrt();
        to_h = ((h / beta / f).floor() * f).max(f);
        to_w = ((w / beta / f).floor() * f).max(f);
    } else if area(to_h, to_w) < min_pixels as f64 {
        let beta = (min_pixels as f64 / (h * w)).sqrt();
        to_h = (h * beta / f).ceil() * f;
        to_w = (w * beta / f).ceil() * f;
    }
    let side = |x: f64| (x >= 1.0 && x <= f64::from(u32::MAX)).then_some(x as u32);
    match (side(to_h), side(to_w)) {
        (Some(to_h), Some(to_w)) => Ok((to_h, to_w)),
        _ => Err(Error::NoSize { height, width, factor, min_pixels, max_pixels }),
    }
}

/// The same of a picture's.
pub(crate) fn check_shape(image: &RgbImage) -> Result<()> {
    check_sides(image.height(), image.width())
}

/// Refuses a height and width that no family's pictures may have: none, or one more than 200 times the other.
///
/// # Errors
/// [`Error::EmptyImage`], [`Error::AspectRatio`].
pub fn check_sides(height: u32, width: u32) -> Result<()> {
    if height == 0 || width == 0 {
        return Err(Error::EmptyImage { height, width });
    }
    let (h, w) = (f64::from(height), f64::from(width));
    match h.max(w) / h.min(w) > MAX_ASPECT {
        true => Err(Error::AspectRatio { height, width }),
        false => Ok(()),
    }
}

/// Which filter an image is resized with, by the numbers Pillow gives them in `preprocessor_config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Resample {
    /// 1: a windowed sinc of radius 3.
    Lanczos,
    /// 2: a triangle of radius 1.
    Bilinear,
    /// 3: Keys' cubic of radius 2 with a = -0.5.
    #[default]
    Bicubic,
}

impl Resample {
    /// The filter of Pillow's number.
    pub fn from_pillow(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Lanczos),
            2 => Some(Self::Bilinear),
            3 => Some(Self::Bicubic),
            _ => None,
        }
    }

    /// Pillow's number of the filter.
    pub fn to_pillow(self) -> i64 {
        match self {
            Self::Lanczos => 1,
            Self::Bilinear => 2,
            Self::Bicubic => 3,
        }
    }
}

/// The image at another size, antialiased: where it shrinks, the filter widens by the ratio of the sizes.
///
/// The arithmetic is integer on 8-bit values with weights of 16 bits, first along rows and then along columns. That is
/// what torchvision does, transformers' default, and the result is equal to its. Lanczos, which torchvision lacks and
/// transformers leaves to Pillow, has Pillow's weights of 22 bits and is equal to its.
///
/// # Errors
/// When the image or the new size has no pixels.
pub fn resize(image: &RgbImage, height: u32, width: u32, resample: Resample) -> Result<RgbImage> {
    if image.width() == 0 || image.height() == 0 {
        return Err(Error::EmptyImage { height: image.height(), width: image.width() });
    }
    if height == 0 || width == 0 {
        return Err(Error::EmptyImage { height, width });
    }
    if image.dimensions() == (width, height) {
        return Ok(image.clone());
    }
    let filter = match resample {
        Resample::Lanczos => return resize_as_pillow(image, height, width, resample),
        Resample::Bilinear => FilterType::Bilinear,
        Resample::Bicubic => FilterType::CatmullRom,
    };
    let refused = |reason: String| Error::Resize { height, width, reason };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    // The library goes down columns first. Between the two directions values are cut to 0..=255, so on sharp edges
    // the order shows, by several grey levels: the directions are therefore asked for one by one.
    let source = ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3)
        .map_err(|e| refused(e.to_string()))?;
    let mut along_rows = Image::new(width, image.height(), PixelType::U8x3);
    let mut resizer = Resizer::new();
    resizer.resize(&source, &mut along_rows, &options).map_err(|e| refused(e.to_string()))?;
    let mut resized = Image::new(width, height, PixelType::U8x3);
    resizer.resize(&along_rows, &mut resized, &options).map_err(|e| refused(e.to_string()))?;
    whole(resized.into_vec(), height, width)
}

/// The same with Pillow's weights, which have 22 bits, for every filter.
pub(crate) fn resize_as_pillow(image: &RgbImage, height: u32, width: u32, resample: Resample) -> Result<RgbImage> {
    if image.width() == 0 || image.height() == 0 {
        return Err(Error::EmptyImage { height: image.height(), width: image.width() });
    }
    if height == 0 || width == 0 {
        return Err(Error::EmptyImage { height, width });
    }
    if image.dimensions() == (width, height) {
        return Ok(image.clone());
    }
    whole(pillow::resize(image, height as usize, width as usize, resample), height, width)
}

fn whole(pixels: Vec<u8>, height: u32, width: u32) -> Result<RgbImage> {
    let refused = || Error::Resize { height, width, reason: "buffer of another length".into() };
    RgbImage::from_raw(width, height, pixels).ok_or_else(refused)
}
