//! Rows that are written are the rows that are read.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};
use vr1_data::{Fields, Media, NewRow, Picture, Pictures, RowSource, RowWriter, Sample, SampleSet};

fn pixels(shade: u8) -> RgbImage {
    RgbImage::from_fn(5, 3, |x, y| Rgb([shade, 40 * x as u8, 60 * y as u8]))
}

fn encoded(format: ImageFormat, shade: u8) -> Picture {
    let mut bytes = std::io::Cursor::new(vec![]);
    pixels(shade).write_to(&mut bytes, format).unwrap();
    Picture::Encoded { bytes: bytes.into_inner().into(), at: Arc::from(Path::new("a row")) }
}

fn row(fields: Value, pictures: Vec<(&str, Pictures)>) -> NewRow {
    let Value::Object(mut fields) = fields else { panic!("{fields}") };
    pictures.iter().for_each(|(name, _)| drop(fields.insert((*name).to_owned(), Value::Null)));
    NewRow { fields, pictures: pictures.into_iter().map(|(name, shown)| (name.to_owned(), shown)).collect() }
}

fn written(name: &str, rows: Vec<NewRow>) -> (tempfile::TempDir, Vec<Sample>) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join(name);
    let mut writer = RowWriter::create(&out, &folder.path().join("scratch")).unwrap();
    rows.into_iter().for_each(|row| writer.write(row).unwrap());
    assert!(!out.exists(), "a file is whole or not there");
    writer.finish().unwrap();
    let set = SampleSet::of(&RowSource::all(&out)).unwrap();
    let samples = (0..set.len()).map(|index| set.get(index).unwrap()).collect();
    (folder, samples)
}

fn shown(sample: &Sample) -> Vec<RgbImage> {
    let picture = |media: &Media| match media {
        Media::Image(picture) => picture.load().unwrap().into_owned(),
        _ => panic!("a video"),
    };
    sample.media.iter().map(picture).collect()
}

#[test]
fn rows_come_back_with_their_pictures_from_json_and_from_parquet() {
    for name in ["rows.jsonl", "rows.parquet"] {
        let rows = vec![
            row(
                json!({
                    "id": "a", "problem": "How many?", "solution": "<answer> 3 </answer>", "made": {"seed": 7, "score": 1},
                    "tags": ["x", "y"], "n": 1, "odd": 1, "sure": true, "steps": [{"title": "Look", "content": "ö"}],
                }),
                vec![("image", Pictures::One(Some(encoded(ImageFormat::Png, 9))))],
            ),
            row(
                json!({
                    "id": "b", "problem": "Why?", "solution": "so", "made": {"seed": 8, "score": 0.5, "more": null},
                    "tags": [], "n": 2.5, "odd": "two", "sure": null, "steps": [],
                }),
                vec![("image", Pictures::One(Some(Picture::from(pixels(70)))))],
            ),
            row(json!({"id": "c", "problem": "No?", "solution": "no"}), vec![("image", Pictures::One(None))]),
        ];
        let (_folder, samples) = written(name, rows);
        let words = |sample: &Sample| (sample.id.clone(), sample.question.clone(), sample.solution.clone());
        let expected = [("a", "How many?", "3"), ("b", "Why?", "so"), ("c", "No?", "no")];
        let expected =
            expected.map(|(id, question, solution)| (id.to_owned(), question.to_owned(), solution.to_owned()));
        assert_eq!(samples.iter().map(words).collect::<Vec<_>>(), expected, "{name}");
        assert_eq!(
            samples.iter().map(shown).collect::<Vec<_>>(),
            [vec![pixels(9)], vec![pixels(70)], vec![]],
            "{name}"
        );
        let fields = |index: usize| -> &Fields { &samples[index].fields };
        assert_eq!((fields(0)["made"]["seed"].as_i64(), fields(1)["made"]["score"].as_f64()), (Some(7), Some(0.5)));
        assert_eq!((&fields(0)["tags"], &fields(1)["tags"]), (&json!(["x", "y"]), &json!([])), "{name}");
        assert_eq!(fields(0)["steps"], json!([{"title": "Look", "content": "ö"}]), "{name}");
        assert_eq!((fields(0)["n"].as_f64(), fields(1)["n"].as_f64()), (Some(1.0), Some(2.5)), "{name}");
        // Of a column of texts and numbers parquet makes texts.
        let odd = if name.ends_with("parquet") { json!("1") } else { json!(1) };
        assert_eq!((&fields(0)["odd"], &fields(1)["odd"]), (&odd, &json!("two")), "{name}");
        assert_eq!(fields(0)["sure"], true, "{name}");
    }
}

#[test]
fn lists_of_pictures_come_back_in_order() {
    for name in ["rows.jsonl", "rows.parquet"] {
        let shades = |shades: &[u8]| Pictures::List(shades.iter().map(|&shade| pixels(shade).into()).collect());
        let rows = vec![
            row(json!({"problem": "Which?", "solution": "1"}), vec![("images", shades(&[1, 2]))]),
            row(json!({"problem": "None?", "solution": "1"}), vec![("images", shades(&[]))]),
            row(json!({"problem": "One?", "solution": "1"}), vec![("images", shades(&[2]))]),
        ];
        let (_folder, samples) = written(name, rows);
        let all: Vec<Vec<RgbImage>> = samples.iter().map(shown).collect();
        assert_eq!(all, [vec![pixels(1), pixels(2)], vec![], vec![pixels(2)]], "{name}");
    }
}

#[test]
fn a_picture_is_written_once_as_it_is_where_every_program_reads_it() {
    let jpeg = encoded(ImageFormat::Jpeg, 9);
    let shows = |picture: &Picture| {
        row(json!({"problem": "?", "solution": "1"}), vec![("image", Pictures::One(Some(picture.clone())))])
    };
    let bitmap = encoded(ImageFormat::Bmp, 200);
    let (folder, samples) = written("rows.jsonl", vec![shows(&jpeg), shows(&bitmap), shows(&jpeg)]);
    let mut files: Vec<_> =
        fs::read_dir(folder.path().join("media")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort_by_key(|path| path.extension().unwrap().to_owned());
    assert_eq!(
        files.iter().map(|path| path.extension().unwrap().to_str().unwrap()).collect::<Vec<_>>(),
        ["jpg", "png"]
    );
    let Picture::Encoded { bytes, .. } = &jpeg else { panic!("a JPEG") };
    assert_eq!(fs::read(&files[0]).unwrap(), bytes.to_vec());
    let as_png = image::open(&files[1]).unwrap().into_rgb8();
    assert_eq!(as_png, pixels(200));
    assert_eq!(shown(&samples[2]), shown(&samples[0]));
}

#[test]
fn a_turned_picture_becomes_one_that_is_not() {
    // A JPEG of two pixels beside each other, and what says that it stands on its side.
    let mut bytes = std::io::Cursor::new(vec![]);
    RgbImage::from_fn(16, 8, |x, _| Rgb([if x < 8 { 250 } else { 10 }; 3]))
        .write_to(&mut bytes, ImageFormat::Jpeg)
        .unwrap();
    let plain = bytes.into_inner();
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut turned = plain[..2].to_vec();
    turned.extend([0xff, 0xe1, 0, (exif.len() + 2) as u8]);
    turned.extend(exif);
    turned.extend(&plain[2..]);
    let picture = |bytes: &[u8]| Picture::Encoded { bytes: bytes.into(), at: Arc::from(Path::new("a row")) };
    assert_eq!(picture(&plain).file().unwrap().extension, "jpg");
    assert_eq!(picture(&turned).dimensions().unwrap(), (8, 16));
    let file = picture(&turned).file().unwrap();
    assert_eq!(file.extension, "png");
    assert_eq!(image::load_from_memory(&file.bytes).unwrap().into_rgb8(), *picture(&turned).load().unwrap());
}

#[test]
fn a_name_that_says_no_kind_of_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = RowWriter::create(&folder.path().join("rows.csv"), folder.path()).unwrap_err().to_string();
    assert!(error.contains("rows.csv") && error.ends_with("a file that ends in .jsonl or .parquet"), "{error}");
}
