//! Small pictures of many formats, modes and orientations have Pillow's pixels, or are refused: never others.
//! `fixtures/drawn/generate.py` draws them; where `VR1_DRAWN` names a folder, others of another seed lie there.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use std::path::{Path, PathBuf};

use vr1_data::Picture;

/// Name, bytes of the file, width and height.
type Listed = (String, usize, u32, u32);

/// What is listed, and all files with their pixels behind them.
fn drawn() -> (Vec<Listed>, Vec<u8>) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/drawn");
    let folder = std::env::var_os("VR1_DRAWN").map_or(here, PathBuf::from);
    let listed = std::fs::read(folder.join("pictures.json")).unwrap();
    (serde_json::from_slice(&listed).unwrap(), std::fs::read(folder.join("pictures.bin")).unwrap())
}

/// What is not read; everything else is.
const REFUSED: &[&str] = &[
    "LA.tif",
    "P.tif",
    "PA.tif",
    "YCbCr.tif",
    "LAB.tif",
    "F_to_400.tif",
    "F_to_1.tif",
    "I_to_400.tif",
    "I_to_70000.tif",
    "signed.tif",
    "unsigned_32.tif",
    "grey_2_bits.tif",
    "white_is_0_2_bits.tif",
    "grey_4_bits.tif",
    "white_is_0_4_bits.tif",
    "grey_alpha.tif",
    "white_is_0_16.tif",
    "fill_order.tif",
    "cmyk_16.tif",
    "frame_over_canvas.gif",
    "other.ppm",
    "other.tga",
    "other.ico",
    "other.pcx",
    "other.sgi",
    "other.dds",
    "other.qoi",
];

/// By how much a level may differ: not at all, but where two decoders may round a cosine or a colour otherwise.
fn bound(name: &str) -> u8 {
    match name {
        _ if name.ends_with(".jpg") || name.ends_with(".mpo") => 2,
        _ => 0,
    }
}

#[test]
fn pictures_of_every_kind_have_pillows_pixels_or_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (listed, files) = drawn();
    let (mut rest, mut wrong) = (files.as_slice(), vec![]);
    for (name, length, width, height) in &listed {
        let (file, behind) = rest.split_at(*length);
        let (pixels, behind) = behind.split_at((width * height * 3) as usize);
        rest = behind;
        let path = dir.path().join(name);
        std::fs::write(&path, file).unwrap();
        let picture = Picture::File(path);
        match picture.load() {
            Err(error) if REFUSED.contains(&name.as_str()) => assert!(error.to_string().contains(name), "{error}"),
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok(_) if REFUSED.contains(&name.as_str()) => wrong.push(format!("{name} loads, and is listed as refused")),
            Ok(found) if found.dimensions() != (*width, *height) => {
                wrong.push(format!("{name}: {:?}", found.dimensions()))
            }
            Ok(found) => {
                assert_eq!(picture.dimensions().unwrap(), found.dimensions(), "{name}");
                let most = found.as_raw().iter().zip(pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                if most > bound(name) {
                    wrong.push(format!("{name}: differs by {most}"));
                }
            }
        }
    }
    assert!(rest.is_empty());
    assert!(wrong.is_empty(), "{} of {} pictures:\n{}", wrong.len(), listed.len(), wrong.join("\n"));
}

#[test]
fn a_picture_cut_in_the_middle_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (listed, files) = drawn();
    let (mut rest, mut wrong) = (files.as_slice(), vec![]);
    for (name, length, width, height) in &listed {
        let file = &rest[..*length];
        rest = &rest[length + (width * height * 3) as usize..];
        if REFUSED.contains(&name.as_str()) {
            continue;
        }
        let path = dir.path().join(name);
        std::fs::write(&path, file).unwrap();
        let whole = Picture::File(path.clone()).load().unwrap().into_owned();
        for part in [1, 4, 6] {
            std::fs::write(&path, &file[..length * part / 8]).unwrap();
            if Picture::File(path.clone()).load().is_ok_and(|half| *half != whole) {
                wrong.push(format!("{name}: {part}/8 of it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
