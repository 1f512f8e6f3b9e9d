//! Files become the pixels that Pillow gives, and broken files an error that names them.
//! `fixtures/pictures/generate.py` writes the files and the expected pixels.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::{Rgb, RgbImage};
use vr1_data::{MAX_PIXELS, Picture};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures").join(name)
}

fn refusal(name: &str) -> String {
    let error = match Picture::File(fixture(name)).load() {
        Err(error) => error.to_string(),
        Ok(pixels) => panic!("{name} gives {:?} pixels", pixels.dimensions()),
    };
    assert!(error.contains(name), "{error}");
    error
}

#[derive(serde::Deserialize)]
struct Expected {
    width: u32,
    height: u32,
    /// x, y, red, green, blue
    pixels: Vec<[u32; 5]>,
}

#[test]
fn pixels_are_what_pillow_gives() {
    let expected = std::fs::read(fixture("expected.json")).unwrap();
    let expected: BTreeMap<String, Expected> = serde_json::from_slice(&expected).unwrap();
    assert_eq!(expected.len(), 30);
    for (name, expected) in expected {
        let picture = Picture::File(fixture(&name));
        let pixels = picture.load().unwrap();
        assert_eq!(pixels.dimensions(), (expected.width, expected.height), "{name}");
        assert_eq!(picture.dimensions().unwrap(), pixels.dimensions(), "{name}");
        let tolerance = if name.ends_with(".jpg") { 2 } else { 0 }; // two JPEG decoders may round differently
        for [x, y, rgb @ ..] in expected.pixels {
            let found = pixels.get_pixel(x, y).0;
            let close = found.iter().zip(rgb).all(|(&a, b)| u32::from(a).abs_diff(b) <= tolerance);
            assert!(close, "{name} at {x}, {y}: {found:?}, Pillow has {rgb:?}");
        }
    }
}

#[test]
fn the_content_decides_the_format_not_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("really_a_png.jpg");
    std::fs::copy(fixture("rgb.png"), &path).unwrap();
    assert_eq!(Picture::File(path).load().unwrap().get_pixel(0, 0).0, [255, 0, 0]);
}

#[test]
fn pixels_in_memory_are_not_copied() {
    let picture = Picture::from(RgbImage::from_pixel(1, 1, Rgb([1, 2, 3])));
    assert!(matches!(picture.load().unwrap(), std::borrow::Cow::Borrowed(_)));
    assert_eq!(picture.dimensions().unwrap(), (1, 1));
}

#[test]
fn a_decompression_bomb_is_refused_by_its_header() {
    let error = refusal("bomb.png");
    assert!(error.ends_with(&format!("60000x60000 pixels, more than the limit of {MAX_PIXELS}")), "{error}");
}

#[test]
fn a_broken_file_is_named() {
    assert!(refusal("text.png").contains("not a readable image"));
    assert!(refusal("cut.png").contains("not a readable image"));
    assert!(refusal("nowhere.png").contains("No such file"));
}

#[test]
fn a_jpeg_cut_short_is_an_error_not_half_a_picture() {
    assert!(refusal("cut.jpg").contains("the file ends before the picture does"));
    let whole = std::fs::read(fixture("turned_6.jpg")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.jpg");
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(Picture::File(path.clone()).load().is_err(), "{length} of {} bytes are enough", whole.len());
    }
    std::fs::write(&path, [&whole[..], b"trailing bytes are no part of the picture"].concat()).unwrap();
    assert_eq!(Picture::File(path).load().unwrap().dimensions(), (32, 48));
}
