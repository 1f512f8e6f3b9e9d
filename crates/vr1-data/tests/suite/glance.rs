//! What beginnings and ends of files tell: sizes, wholeness, sameness.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{Rgb, RgbImage};
use proptest::prelude::*;
use vr1_data::{Album, Picture, PictureSketch, PreferenceSet, RowSource, SampleSet, TextSketch};

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures");
    let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| !matches!(file.extension().and_then(|e| e.to_str()), Some("json" | "py")));
    files.sort();
    files
}

fn encoded(bytes: &[u8]) -> Picture {
    Picture::Encoded { bytes: Arc::from(bytes), at: Arc::from(Path::new("row 1")) }
}

/// Grain, so that no two are alike and files are long.
fn drawn(seed: u32, width: u32, height: u32) -> RgbImage {
    let level = |x: u32, y: u32| (x * 7 + seed * 31) as u8 ^ (y * 13) as u8 ^ ((x * y * (seed + 1)) >> 3) as u8;
    RgbImage::from_fn(width, height, |x, y| Rgb([level(x, y), level(y, x), level(x + y, seed)]))
}

#[test]
fn a_glance_has_the_size_of_what_is_decoded_and_knows_what_is_cut_short() {
    let mut decoded = 0;
    for file in fixtures() {
        let name = file.display();
        let bytes = std::fs::read(&file).unwrap();
        let (by_path, by_bytes) = (Picture::File(file.clone()).glance(), encoded(&bytes).glance());
        match encoded(&bytes).load() {
            Ok(pixels) => {
                decoded += 1;
                let seen = by_path.unwrap();
                assert_eq!((seen.width, seen.height), pixels.dimensions(), "{name}");
                assert_eq!(seen, by_bytes.unwrap(), "{name}");
                assert!(seen.whole || file.extension().unwrap() == "tiff", "{name} is whole");
            }
            // What a header does not tell it leaves open.
            Err(_) => assert!(by_path.is_err() || !by_path.unwrap().whole, "{name}"),
        }
    }
    assert!(decoded >= 28);
}

#[test]
fn a_long_header_is_read_past_the_beginning_of_a_file() {
    // An EXIF segment of 40,000 bytes that says the picture is turned, then the frame.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures");
    let turned = std::fs::read(folder.join("turned_6.jpg")).unwrap();
    let mut long = turned[..2].to_vec();
    long.extend([0xff, 0xe2]);
    long.extend(40_002_u16.to_be_bytes());
    long.extend(std::iter::repeat_n(b'x', 40_000));
    long.extend(&turned[2..]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("long.jpg");
    std::fs::write(&file, &long).unwrap();
    let seen = Picture::File(file.clone()).glance().unwrap();
    assert_eq!((seen.width, seen.height), Picture::File(file).load().unwrap().dimensions());
    assert!(seen.whole);
}

#[test]
fn any_cut_of_a_picture_is_an_error_or_not_whole() {
    for file in fixtures().iter().filter(|file| !file.to_string_lossy().contains("cut")) {
        let bytes = std::fs::read(file).unwrap();
        for length in (0..bytes.len() - 1).step_by(7) {
            let seen = encoded(&bytes[..length]).glance();
            assert!(seen.as_ref().map_or(true, |seen| !seen.whole), "{} cut to {length}: {seen:?}", file.display());
        }
    }
}

proptest! {
    #[test]
    fn noise_behind_a_signature_is_never_a_panic(start in 0..4_usize, noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let signature: &[u8] =
            [&[0xff, 0xd8][..], b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"GIF89a", b"RIFF\0\0\0\0WEBP"][start];
        let bytes = [signature, &noise].concat();
        if let Ok(seen) = encoded(&bytes).glance() {
            prop_assert!(u64::from(seen.width) * u64::from(seen.height) <= vr1_data::MAX_PIXELS);
        }
    }
}

#[test]
fn an_album_tells_copies_from_pictures_that_only_begin_and_end_alike() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = vec![];
    drawn(3, 300, 200).write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Bmp).unwrap();
    let mut other = bytes.clone();
    other[90_000] ^= 255; // in the middle
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.path().join(name), bytes).unwrap();
        Picture::File(dir.path().join(name))
    };
    let pictures =
        [write("a.bmp", &bytes), write("b.bmp", &other), write("c.bmp", &bytes), encoded(&bytes), encoded(&other)];
    let mut album = Album::default();
    let numbers = pictures.each_ref().map(|picture| album.number(picture, &picture.glance().unwrap()).unwrap());
    assert_eq!(numbers, [0, 1, 0, 0, 1]);
    assert_eq!(album.len(), 2);
}

#[test]
fn texts_are_alike_by_their_words_and_never_with_other_numbers() {
    let alike = |a: &str, b: &str| TextSketch::of(a).alike(&TextSketch::of(b));
    let long = "A farmer has 17 sheep and sells all but nine of them at the market on the other side of the river; how many are left?";
    assert_eq!(alike(long, &long.to_uppercase()), 1.0);
    assert!(alike(long, &long.replace("farmer", "shepherd")) > 0.6);
    assert_eq!(alike(long, &long.replace("17", "18")), 0.0);
    assert!(alike(long, "What is the colour of the largest cube in the picture, and where does it stand?") < 0.1);
    assert_eq!(alike("", ""), 1.0);
    // Texts that are alike have a key in common.
    let near = TextSketch::of(&long.replace("river", "rivers"));
    assert!(near.keys().any(|key| TextSketch::of(long).keys().any(|other| other == key)));
}

#[test]
fn pictures_look_alike_at_another_quality_and_size_and_others_do_not() {
    let scene = |seed: u32| {
        RgbImage::from_fn(240, 180, |x, y| {
            let inside = x.abs_diff(60 + seed * 37 % 120).pow(2) + y.abs_diff(50 + seed * 53 % 80).pow(2) < 1600;
            if inside { Rgb([200, (seed * 40) as u8, 30]) } else { Rgb([(x / 2) as u8, (y / 2) as u8, 120]) }
        })
    };
    let one = scene(1);
    let mut jpeg = vec![];
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 60);
    one.write_with_encoder(encoder).unwrap();
    let small = image::imageops::thumbnail(&one, 120, 90);
    let sketch = PictureSketch::of(&one);
    assert!(sketch.alike(&PictureSketch::of(&encoded(&jpeg).load().unwrap())));
    assert!(sketch.alike(&PictureSketch::of(&small)));
    for seed in 2..8 {
        assert!(!sketch.alike(&PictureSketch::of(&scene(seed))), "seed {seed}");
    }
}

#[test]
fn every_row_is_visited_good_or_bad_with_its_place_until_somebody_stops() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows.jsonl");
    let rows = [
        r#"{"question": "1 + 1?", "answer": 2}"#,
        "no JSON",
        r#"{"question": "and this?"}"#,
        r#"{"question": "2 + 2?", "answer": 4, "image": "gone.png"}"#,
        r#"{"question": "3 + 3?", "answer": 6}"#,
    ];
    std::fs::write(&file, rows.join("\n")).unwrap();
    let mut seen = vec![];
    SampleSet::visit(&RowSource::all(&file), |place, row| {
        seen.push((place.to_owned(), row.map(|sample| sample.solution)));
        ControlFlow::Continue(())
    })
    .unwrap();
    let places: Vec<String> = (1..=5).map(|line| format!("{}:{line}", file.display())).collect();
    assert_eq!(seen.iter().map(|(place, _)| place.clone()).collect::<Vec<_>>(), places);
    let good: Vec<usize> = (0..5).filter(|&i| seen[i].1.is_ok()).collect();
    assert_eq!(good, [0, 4]);
    assert!(seen[3].1.as_ref().unwrap_err().contains("gone.png"));
    let mut count = 0;
    PreferenceSet::visit(&RowSource::all(&file), |_, row| {
        count += 1;
        assert!(row.is_err());
        if count == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(count, 2);
    // With a filter, a row that cannot be read is among them still, and one that does not pass is not.
    let source = RowSource {
        filters: vec![serde_json::from_str(r#"{"column": "answer", "is": 6}"#).unwrap()],
        ..RowSource::all(&file)
    };
    let mut filtered = vec![];
    SampleSet::visit(&source, |place, row| {
        filtered.push((place.rsplit(':').next().unwrap().to_owned(), row.is_ok()));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(filtered, [("2".to_owned(), false), ("5".to_owned(), true)]);
}
