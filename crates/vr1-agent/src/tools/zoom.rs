use std::sync::Arc;

use image::imageops::{FilterType, crop_imm, resize};
use serde_json::{Map, Value};

use super::{Observation, Seen, Tool};

/// Shows a part of a picture larger: `{"bbox_2d": [x1, y1, x2, y2], "index": 0}`, as in DeepEyes
/// ([arXiv:2505.14362](https://arxiv.org/abs/2505.14362)).
///
/// The box is in the pixels in which the model sees the picture, as Qwen2.5-VL names places, with its corner above and to the left first; `index`
/// is that of the picture among all that were shown, 0 where it is left out. What it returns keeps the shape of the box and has its longer
/// side as long as the picture's, at most eight times what there was.
#[derive(Debug, Clone, Copy, Default)]
pub struct Zoom;

/// No more pixels are made of one.
const MOST: f64 = 8.0;

impl Tool for Zoom {
    fn name(&self) -> &str {
        "image_zoom_in_tool"
    }

    fn call(&self, arguments: &Map<String, Value>, seen: &[Seen]) -> Result<Observation, String> {
        let index = match arguments.get("index") {
            None => 0,
            Some(index) => {
                index.as_u64().ok_or_else(|| format!("`index` is {index}, and should count from 0"))? as usize
            }
        };
        let seen = seen.get(index).ok_or_else(|| format!("`index` is {index}, of {} pictures", seen.len()))?;
        let corners: Option<Vec<f64>> = arguments
            .get("bbox_2d")
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(Value::as_f64).collect());
        let Some(&[x1, y1, x2, y2]) = corners.as_deref() else {
            return Err("`bbox_2d` should be four numbers".into());
        };
        let ((width, height), (wide, high)) = (seen.pixels.dimensions(), seen.size);
        // What lies outside is left out, and a box of no pixel is none.
        let place = |at: f64, of: u32, seen: u32| {
            (at * f64::from(of) / f64::from(seen.max(1))).round().clamp(0.0, f64::from(of)) as u32
        };
        let [left, right] = [x1, x2].map(|x| place(x, width, wide));
        let [top, bottom] = [y1, y2].map(|y| place(y, height, high));
        if left >= right || top >= bottom {
            return Err(format!("`bbox_2d` has nothing of the picture of {wide} × {high} in it"));
        }
        let part = crop_imm(seen.pixels.as_ref(), left, top, right - left, bottom - top).to_image();
        let longest = |(width, height): (u32, u32)| f64::from(width.max(height));
        let scale = (longest((width, height)) / longest(part.dimensions())).clamp(1.0, MOST);
        let scaled = |side: u32| (f64::from(side) * scale).round().max(1.0) as u32;
        let shown = resize(&part, scaled(part.width()), scaled(part.height()), FilterType::CatmullRom);
        Ok(Observation { pictures: vec![Arc::new(shown)], text: String::new() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use image::{Rgb, RgbImage};
    use serde_json::json;

    use super::*;

    /// Red on the left and blue on the right, seen half as large.
    fn seen() -> Seen {
        let pixels = RgbImage::from_fn(80, 40, |x, _| if x < 40 { Rgb([200, 0, 0]) } else { Rgb([0, 0, 200]) });
        Seen { pixels: Arc::new(pixels), size: (40, 20) }
    }

    fn called(arguments: Value) -> Result<Observation, String> {
        Zoom.call(arguments.as_object().unwrap(), &[seen()])
    }

    #[test]
    fn a_box_is_shown_as_large_as_the_picture() {
        let found = called(json!({"bbox_2d": [20, 0, 30, 20], "label": "sea"})).unwrap();
        let shown = &found.pictures[0];
        assert_eq!(shown.dimensions(), (40, 80));
        assert!(shown.pixels().all(|pixel| *pixel == Rgb([0, 0, 200])));
        let small = called(json!({"bbox_2d": [0, 0, 1, 1]})).unwrap();
        assert_eq!(small.pictures[0].dimensions(), (16, 16), "eight times at most");
        let beyond = called(json!({"bbox_2d": [-50, -50, 500, 500]})).unwrap();
        assert_eq!(*beyond.pictures[0], *seen().pixels);
    }

    #[test]
    fn what_cannot_be_shown_is_said() {
        for (arguments, reason) in [
            (json!({}), "four numbers"),
            (json!({"bbox_2d": [1, 2, 3]}), "four numbers"),
            (json!({"bbox_2d": [1, 2, "3", 4]}), "four numbers"),
            (json!({"bbox_2d": [30, 0, 20, 20]}), "nothing of the picture of 40 × 20"),
            (json!({"bbox_2d": [41, 0, 50, 20]}), "nothing of the picture"),
            (json!({"bbox_2d": [0, 0, 9, 9], "index": 1}), "`index` is 1, of 1 pictures"),
            (json!({"bbox_2d": [0, 0, 9, 9], "index": -1}), "should count from 0"),
        ] {
            let error = called(arguments).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
