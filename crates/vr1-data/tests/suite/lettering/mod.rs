//! Text that is drawn, and questions that are shown as pictures of it.
#![cfg(feature = "lettering")]

mod questions;

use std::path::Path;
use std::sync::Arc;

use image::{Rgb, RgbImage};
use proptest::prelude::*;
use vr1_data::{
    Dataset, Error, Lettering, Media, Picture, Place, Rendered, Result, Said, SaidPart, Sample, Scenes, Split, Spread,
    Task, Turn, Typesetter,
};

const LONG: &str = "A farmer has 17 sheep and buys 5 more each spring. After how many springs does she have at least \
                    50 sheep, if two of them are sold every autumn?";

/// Black on white, of one size.
fn plain(width: u32, font_size: f32) -> Lettering {
    Lettering {
        width: Spread::one(width),
        font_size: Spread::one(font_size),
        margin: Spread::one(0.5),
        line_height: Spread::one(1.25),
        background: Spread::one(255),
        ink: Spread::one(0),
        ..Lettering::default()
    }
}

fn drawn(lettering: &Lettering, text: &str) -> RgbImage {
    Typesetter::new(lettering).unwrap().draw(text, 7, 0).unwrap()
}

/// The first and the last column and row of pixels that are not white.
fn ink(picture: &RgbImage) -> Option<[u32; 4]> {
    let inked = || picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0 != [255; 3]);
    let (columns, rows) = (|| inked().map(|(x, ..)| x), || inked().map(|(_, y, _)| y));
    Some([columns().min()?, columns().max()?, rows().min()?, rows().max()?])
}

struct Rows(Vec<Sample>);

impl Dataset for Rows {
    fn name(&self) -> &str {
        "rows"
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        self.0.get(index).cloned().ok_or(Error::Index { dataset: "rows".to_owned(), index, len: self.len() })
    }
}

fn asked(question: &str) -> Sample {
    Sample { id: "row 0".to_owned(), question: question.to_owned(), solution: "4".to_owned(), ..Sample::default() }
}

fn picture() -> Media {
    Media::Image(Picture::from(RgbImage::new(2, 2)))
}

fn rendered(share: f64, sample: Sample) -> Rendered {
    let typesetter = Typesetter::new(&plain(224, 14.0)).unwrap();
    Rendered { of: Arc::new(Rows(vec![sample; 400])), typesetter, question: "Read it.".to_owned(), share, seed: 7 }
}

fn shown(sample: &Sample, index: usize) -> RgbImage {
    sample.media[index].picture().unwrap().load().unwrap().into_owned()
}

#[test]
fn a_text_is_drawn_alike_every_time_and_otherwise_for_another_sample_or_seed() {
    let lettering = Lettering { width: Spread { least: 224, most: 448 }, ..Lettering::default() };
    let (once, again) = (Typesetter::new(&lettering).unwrap(), Typesetter::new(&lettering).unwrap());
    again.draw("Something else first.", 7, 1).unwrap();
    let picture = |seed, index| once.draw(LONG, seed, index).unwrap();
    for index in 0..20 {
        assert_eq!(picture(7, index), again.draw(LONG, 7, index).unwrap());
        assert_ne!(picture(7, index), picture(7, index + 1));
        assert_ne!(picture(7, index), picture(8, index));
    }
}

#[test]
fn threads_draw_what_one_alone_draws() {
    let typesetter = Typesetter::new(&Lettering::default()).unwrap();
    let alone: Vec<_> = (0..8).map(|index| typesetter.draw(LONG, 7, index).unwrap()).collect();
    std::thread::scope(|scope| {
        for (index, expected) in alone.iter().enumerate() {
            let typesetter = &typesetter;
            scope.spawn(move || assert_eq!(typesetter.draw(LONG, 7, index).unwrap(), *expected));
        }
    });
}

#[test]
fn every_sample_is_within_what_the_settings_leave_open() {
    let lettering = Lettering {
        width: Spread { least: 200, most: 300 },
        background: Spread { least: 10, most: 20 },
        ink: Spread { least: 200, most: 210 },
        ..Lettering::default()
    };
    let typesetter = Typesetter::new(&lettering).unwrap();
    let mut widths = std::collections::BTreeSet::new();
    for index in 0..50 {
        let picture = typesetter.draw("Why?", 7, index).unwrap();
        widths.insert(picture.width());
        let ground = picture.get_pixel(0, 0).0;
        let ink = [0, 1, 2].map(|c| picture.pixels().map(|pixel| pixel.0[c]).max().unwrap());
        assert!((200..=300).contains(&picture.width()), "{}", picture.width());
        assert!(ground.iter().all(|c| (10..=20).contains(c)), "{ground:?}");
        assert!(ink.iter().all(|c| (190..=210).contains(c)), "{ink:?}"); // thin strokes may not cover a pixel
    }
    assert!(widths.len() > 25, "{widths:?}");
}

#[test]
fn lines_break_before_the_margin_and_longer_texts_are_taller() {
    for (width, size) in [(112, 10.0), (224, 14.0), (448, 24.0)] {
        let lettering = plain(width, size);
        let mut last = 0;
        for words in [1, 4, 12, 24, 200, 2000] {
            let text: Vec<&str> = LONG.split(' ').cycle().take(words).collect();
            let picture = drawn(&lettering, &text.join(" "));
            let [left, right, top, bottom] = ink(&picture).unwrap();
            assert_eq!(picture.width(), width);
            // Half a letter of margin, of which the overhang of a letter may take a little.
            let margin = (size * 0.25) as u32;
            assert!(left >= margin && right < width - margin, "{left} to {right} of {width}");
            assert!(top > 0 && bottom + 1 < picture.height(), "{top} to {bottom} of {}", picture.height());
            assert!(picture.height() > last || words == 4, "{words} words: {}", picture.height());
            last = picture.height();
        }
    }
}

#[test]
fn what_has_no_place_to_break_is_broken_anyway() {
    let picture = drawn(&plain(112, 12.0), &"m".repeat(100));
    assert_eq!(picture.width(), 112);
    let one = drawn(&plain(112, 12.0), "m");
    assert!(picture.height() > 5 * one.height(), "{} and {}", picture.height(), one.height());
}

#[test]
fn a_line_of_the_text_is_a_line_of_the_picture_whatever_ends_it() {
    let height = |text: &str| drawn(&plain(448, 16.0), text).height();
    let (one, two) = (height("ab"), height("a\nb"));
    assert_eq!(two, one + 20); // 16 pixels x 1.25
    for end in ["\r\n", "\u{b}", "\u{85}", "\u{2028}", "\u{2029}"] {
        assert_eq!(height(&format!("a{end}b")), two, "{end:?}");
    }
}

#[test]
fn every_printable_character_of_ascii_leaves_its_own_mark() {
    let lettering = plain(64, 20.0);
    let marks: Vec<_> = (b'!'..=b'~').map(|c| (c as char, drawn(&lettering, &(c as char).to_string()))).collect();
    for (i, (character, picture)) in marks.iter().enumerate() {
        assert!(ink(picture).is_some(), "{character:?}");
        for (other, same) in &marks[..i] {
            assert_ne!(picture, same, "{character:?} and {other:?}");
        }
    }
    assert_eq!(ink(&drawn(&lettering, " ")), None);
}

#[test]
fn mathematics_is_in_the_faces_that_are_there_without_a_file() {
    for character in "π√∑∫≤≥≠±×÷°²³½∞∠△∥⊥∈∪∩→αβγθλμσφωΔΩ".chars() {
        let typesetter = Typesetter::new(&plain(64, 20.0)).unwrap();
        for index in 0..6 {
            assert!(ink(&typesetter.draw(&character.to_string(), 7, index).unwrap()).is_some(), "{character}");
        }
    }
}

/// A file of twelve Chinese characters; DejaVu has none.
fn han(width: u32, font_size: f32) -> Lettering {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lettering/han.ttf");
    Lettering { fonts: vec![file], ..plain(width, font_size) }
}

#[test]
fn chinese_characters_leave_the_marks_that_pillow_makes_of_them() {
    let marks = include_str!("../../fixtures/lettering/marks.json");
    let marks: Vec<(String, u32, u32, f64)> = serde_json::from_str(marks).unwrap();
    for (character, width, height, covered) in marks {
        let picture = drawn(&han(96, 32.0), &character);
        let [left, right, top, bottom] = ink(&picture).unwrap();
        let ours = picture.pixels().map(|pixel| f64::from(255 - pixel.0[0]) / 255.0).sum::<f64>();
        // Where a mark begins within a pixel is up to the library: one pixel more or less, an edge lighter or darker.
        let near = |a: u32, b: u32| a.abs_diff(b) <= 1;
        assert!(near(right - left + 1, width) && near(bottom - top + 1, height), "{character}: {width} x {height}");
        assert!((ours / covered - 1.0).abs() < 0.05, "{character}: {ours} of ink, {covered} by Pillow");
    }
}

#[test]
fn chinese_breaks_between_any_two_characters_and_stands_beside_english() {
    let (one, four) = (drawn(&han(128, 24.0), "三加四"), drawn(&han(128, 24.0), &"三加四等".repeat(4)));
    assert_eq!(four.height() - one.height(), 3 * 30, "four characters of 24 pixels a line, 30 pixels high");
    let mixed = drawn(&han(448, 24.0), "What is 三加四?");
    assert!(ink(&mixed).unwrap()[1] > ink(&drawn(&han(448, 24.0), "What is ?")).unwrap()[1]);
}

#[test]
fn a_character_that_no_face_has_is_named_with_its_sample() {
    let error = Typesetter::new(&plain(112, 12.0)).unwrap().draw("What is 汉 here?", 7, 0).unwrap_err().to_string();
    assert_eq!(
        error,
        "\"What is 汉 here?\": cannot be drawn, no typeface has '汉' (U+6C49); `fonts` takes files that have it"
    );
    let error = rendered(1.0, asked("Is it 汉?")).get(0).unwrap_err().to_string();
    assert!(error.starts_with("sample row 0: \"Is it 汉?\": cannot be drawn, no typeface has '汉'"), "{error}");
}

#[test]
fn a_file_that_is_no_typeface_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |name: &str, bytes: Option<&[u8]>| {
        let path = dir.path().join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let error = Typesetter::new(&Lettering { fonts: vec![path.clone()], ..Lettering::default() }).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
        error
    };
    let whole = dejavu::sans_mono::regular();
    assert!(fails("absent.ttf", None).contains("No such file"));
    assert!(fails("words.ttf", Some(b"no typeface")).contains("no typeface in it"));
    assert!(fails("short.ttf", Some(&whole[..200])).contains("no typeface in it"));
    assert!(fails("claims.ttc", Some(b"ttcf\0\x01\0\0\xff\xff\xff\xff")).contains("more faces than"));
}

#[test]
fn a_face_of_a_file_is_what_text_is_set_in_and_what_it_lacks_comes_from_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bold.ttf");
    std::fs::write(&path, dejavu::sans_mono::bold_oblique()).unwrap();
    let with =
        |fonts: &[&Path]| Lettering { fonts: fonts.iter().map(|p| p.to_path_buf()).collect(), ..plain(224, 20.0) };
    let (own, bold) = (Typesetter::new(&with(&[])).unwrap(), Typesetter::new(&with(&[&path])).unwrap());
    let darkness = |picture: &RgbImage| picture.pixels().map(|p| 255 - u64::from(p.0[0])).sum::<u64>();
    let in_any: Vec<u64> = (0..20).map(|index| darkness(&own.draw("iiiiiiii", 7, index).unwrap())).collect();
    let in_bold: Vec<u64> = (0..20).map(|index| darkness(&bold.draw("iiiiiiii", 7, index).unwrap())).collect();
    assert_eq!(in_any.iter().collect::<std::collections::BTreeSet<_>>().len(), 3); // sans, serif, mono
    assert!(
        in_bold.iter().all(|bold| *bold == in_bold[0] && in_any.iter().all(|any| any < bold)),
        "{in_bold:?} {in_any:?}"
    );
    assert!(bold.draw("Armenian Ա, Arabic ب, ⅔", 7, 0).is_ok()); // not in the mono's bold face
}

#[test]
fn settings_that_cannot_work_are_named() {
    let fails = |text: &str| match serde_yaml::from_str::<Lettering>(text) {
        Ok(lettering) => lettering.validate().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    for (text, expected) in [
        ("width: 8", "lettering.width: from 8 to 8, should be within 32 and 4096"),
        ("font_size: [24, 14]", "lettering.font_size: from 24 to 14, should begin with the lesser"),
        ("font_size: [.nan, 14]", "lettering.font_size: from NaN to 14, should be within 6 and 256"),
        (
            "{ width: 112, font_size: 40 }",
            "lettering.width: 112, and the greatest `font_size` and `margin` want at least 200",
        ),
        ("{ ink: [0, 200] }", "lettering.ink: not all 64 darker than `background`, nor all 64 lighter"),
        ("ink: 300", "neither a number that fits nor a list"),
        ("width: wide", "neither a number that fits nor a list"),
        ("font: a.ttf", "unknown field `font`"),
    ] {
        assert!(fails(text).contains(expected), "{text}: {}", fails(text));
    }
    Lettering::default().validate().unwrap();
    let lettering: Lettering =
        serde_yaml::from_str("{ width: [112, 224], font_size: 12, background: 20, ink: 200 }").unwrap();
    lettering.validate().unwrap();
    assert_eq!(serde_yaml::from_str::<Lettering>(&serde_yaml::to_string(&lettering).unwrap()).unwrap(), lettering);
}

#[test]
fn a_character_too_wide_for_the_picture_is_an_error() {
    // A face that says of its em that it is an eighth of what it is: its letters are 4.8 times as wide as the font size.
    let mut face = dejavu::sans_mono::regular().to_vec();
    let entry = face[12..].chunks_exact(16).find(|entry| entry.starts_with(b"head")).unwrap();
    let units_per_em = u32::from_be_bytes(entry[8..12].try_into().unwrap()) as usize + 18;
    assert_eq!(face[units_per_em..][..2], 2048_u16.to_be_bytes());
    face[units_per_em..][..2].copy_from_slice(&256_u16.to_be_bytes());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wide.ttf");
    std::fs::write(&path, face).unwrap();
    let typesetter = Typesetter::new(&Lettering { fonts: vec![path], ..plain(64, 20.0) }).unwrap();
    let error = typesetter.draw("m", 7, 0).unwrap_err().to_string();
    assert_eq!(error, "\"m\": cannot be drawn, 'm' (U+006D) does not fit into a width of 64 pixels");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_text_it_is_a_picture_of_that_width_or_an_error(
        text in "(\\PC|[ \t\n\r\u{5d0}\u{627}\u{2029}\u{202e}\u{301}\u{1f600}]){0,40}",
    ) {
        let typesetter = Typesetter::new(&plain(112, 12.0)).unwrap();
        match typesetter.draw(&text, 7, 0) {
            Ok(picture) => prop_assert_eq!(picture.width(), 112),
            Err(error) => prop_assert!(error.to_string().contains("cannot be drawn"), "{}", error),
        }
    }
}
