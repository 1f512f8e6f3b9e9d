//! Pictures of any size on the canvas that suits them best, among those that a checkpoint lists (LLaVA's "anyres").

use image::RgbImage;
use serde_json::Value;

use crate::pixels::{Pixels, on_black};
use crate::settings::{MAX_SIDE, Settings};
use crate::{Error, Result};

/// The canvases listed under a key, height and width of each.
pub(crate) fn canvases(settings: &Settings<'_>, key: &str, default: &[[u32; 2]]) -> Result<Vec<[u32; 2]>> {
    let Some(value) = settings.get(key) else { return Ok(default.to_vec()) };
    let side = |value: &Value| {
        value.as_u64().and_then(|side| u32::try_from(side).ok()).filter(|side| (1..=MAX_SIDE as u32).contains(side))
    };
    let canvas = |pair: &Value| match pair.as_array()?.as_slice() {
        [height, width] => Some([side(height)?, side(width)?]),
        _ => None,
    };
    let listed: Option<Vec<[u32; 2]>> = value.as_array().and_then(|list| list.iter().map(canvas).collect());
    match listed {
        Some(listed) if !listed.is_empty() => Ok(listed),
        _ => settings.wrong(key, format!("{value} is not a list of heights and widths between 1 and {MAX_SIDE}")),
    }
}

/// The canvas that shows most of a picture of that height and width, and of these the one with least around it; the first of
/// equals.
pub(crate) fn best([height, width]: [u32; 2], canvases: &[[u32; 2]]) -> Result<[u32; 2]> {
    let (h, w) = (f64::from(height), f64::from(width));
    let mut best: Option<([u32; 2], u64, u64)> = None;
    for &canvas in canvases {
        let [high, wide] = canvas.map(f64::from);
        let scale = (wide / w).min(high / h);
        let shown = ((w * scale) as u64 * (h * scale) as u64).min(u64::from(height) * u64::from(width));
        let wasted = u64::from(canvas[0]) * u64::from(canvas[1]) - shown;
        let better = |(_, most, least): ([u32; 2], u64, u64)| shown > most || (shown == most && wasted < least);
        if shown > 0 && best.is_none_or(better) {
            best = Some((canvas, shown, wasted));
        }
    }
    best.map(|(canvas, ..)| canvas).ok_or(Error::NoCanvas { height, width })
}

/// The picture at the greatest size that the canvas takes, in the middle of it.
pub(crate) fn centred(image: &RgbImage, canvas: [u32; 2], pixels: &Pixels) -> Result<RgbImage> {
    let [high, wide] = canvas;
    let (h, w) = (f64::from(image.height()), f64::from(image.width()));
    let (scale_w, scale_h) = (f64::from(wide) / w, f64::from(high) / h);
    let size = match scale_w < scale_h {
        true => [((h * scale_w).ceil() as u32).min(high), wide],
        false => [high, ((w * scale_h).ceil() as u32).min(wide)],
    };
    let resized = pixels.resize(image, size)?;
    Ok(on_black(&resized, canvas, [(high - size[0]) / 2, (wide - size[1]) / 2]))
}
