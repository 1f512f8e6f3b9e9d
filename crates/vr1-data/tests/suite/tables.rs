//! Parquet that is not as it should be says where and why, and none of it stops the program.
#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use tempfile::TempDir;
use vr1_data::{Columns, RowSource, SampleSet};

const PNG: &[u8] = include_bytes!("../fixtures/published/messages/a.png");

/// Writes columns to a file, two rows a row group.
fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, c)| (name, c, true))).unwrap();
    let settings = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(settings)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn texts(texts: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

fn pictures(bytes: &[Option<&[u8]>]) -> ArrayRef {
    let field = |name: &str, kind| Arc::new(Field::new(name, kind, true));
    let paths = StringArray::from(vec![None::<&str>; bytes.len()]);
    Arc::new(StructArray::from(vec![
        (field("bytes", DataType::Binary), Arc::new(BinaryArray::from(bytes.to_vec())) as ArrayRef),
        (field("path", DataType::Utf8), Arc::new(paths) as ArrayRef),
    ]))
}

/// The message without the folder, which differs from run to run.
fn message<T: std::fmt::Debug>(dir: &TempDir, result: vr1_data::Result<T>) -> String {
    result.unwrap_err().to_string().replace(&format!("{}/", dir.path().display()), "")
}

fn open(path: PathBuf) -> vr1_data::Result<SampleSet> {
    SampleSet::of(&RowSource::all(path))
}

#[test]
fn a_bad_row_is_named_by_its_file_its_row_its_row_group_and_its_column() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.parquet");
    let questions = texts(&[Some("a"), Some("b"), Some("<image>c"), Some("d")]);
    let answers = texts(&[Some("1"), Some("2"), Some("3"), None]);
    write(
        &path,
        vec![
            ("question", questions),
            ("answer", answers),
            ("image", pictures(&[Some(PNG), Some(b"cat"), Some(PNG), None])),
        ],
    );
    assert_eq!(
        message(&dir, open(path)),
        "rows.parquet:2: row 2 of row group 0: image.bytes: 3 bytes that do not begin as a picture does\n\
         rows.parquet:4: row 2 of row group 1: question: without an answer; the row has the keys question, answer, image; \
         answers stand under answer, solution, response, output, completion"
    );
}

#[test]
fn a_row_without_its_picture_is_an_error() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.parquet");
    let questions = texts(&[Some("<image>a"), Some("<image>b")]);
    write(
        &path,
        vec![("question", questions), ("answer", texts(&[Some("1"); 2])), ("image", pictures(&[Some(PNG), None]))],
    );
    assert_eq!(message(&dir, open(path)), "rows.parquet:2: row 2 of row group 0: image: neither bytes nor path");
}

#[test]
fn a_picture_that_is_broken_is_named_by_its_row_when_it_is_decoded() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.parquet");
    write(
        &path,
        vec![
            ("question", texts(&[Some("a")])),
            ("answer", texts(&[Some("1")])),
            ("image", pictures(&[Some(&PNG[..60])])),
        ],
    );
    let sample = open(path).unwrap().get(0).unwrap();
    let [vr1_data::Media::Image(picture)] = &sample.media[..] else { panic!("one image") };
    let said = message(&dir, picture.load());
    assert!(said.starts_with("rows.parquet:1: row 1 of row group 0: image: not a readable image"), "{said}");
}

#[test]
fn a_column_of_pictures_that_holds_something_else_is_named_before_any_row() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.parquet");
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    write(&path, vec![("question", texts(&[Some("a")])), ("answer", texts(&[Some("1")])), ("photo", numbers)]);
    let of = |columns| SampleSet::of(&RowSource { columns, ..RowSource::all(&path) });
    assert_eq!(
        message(&dir, of(Columns::from([("images", "photo")]))),
        "rows.parquet: column \"photo\": Int64, should be text, bytes, {bytes, path}, or a list of such"
    );
    assert_eq!(
        message(&dir, of(Columns::from([("images", "photos")]))),
        "rows.parquet: columns.images: there is no column \"photos\"; there are question, answer, photo"
    );
}

#[test]
fn a_file_cut_short_and_one_that_is_something_else_are_told_apart() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.parquet");
    write(&path, vec![("question", texts(&[Some("a")])), ("answer", texts(&[Some("1")]))]);
    let whole = std::fs::read(&path).unwrap();
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        message(&dir, open(path.clone()))
    };
    assert_eq!(read(&whole[..whole.len() / 2]), "rows.parquet: a parquet file cut short: its end is missing");
    assert_eq!(read(&whole[..7]), "rows.parquet: 7 bytes, not a parquet file");
    assert_eq!(read(b"{\"question\": \"a\"}"), "rows.parquet: not a parquet file");
    let pointer = b"version https://git-lfs.github.com/spec/v1\n";
    assert_eq!(read(pointer), "rows.parquet: not a parquet file, but the pointer to one that git-lfs left; fetch it");
}

#[test]
fn a_missing_shard_is_named() {
    let dir = TempDir::new().unwrap();
    for shard in [0, 1, 3, 4] {
        let path = dir.path().join(format!("train-0000{shard}-of-00005.parquet"));
        write(&path, vec![("question", texts(&[Some("a")])), ("answer", texts(&[Some("1")]))]);
    }
    let said = open(dir.path().to_owned()).unwrap_err().to_string();
    assert!(said.ends_with(": train-00002-of-00005.parquet is missing"), "{said}");
}

#[test]
fn splits_are_not_mixed_unless_files_says_so() {
    let dir = TempDir::new().unwrap();
    for split in ["train", "test"] {
        let path = dir.path().join(format!("{split}-00000-of-00001.parquet"));
        write(&path, vec![("question", texts(&[Some(split)])), ("answer", texts(&[Some("1")]))]);
    }
    let said = open(dir.path().to_owned()).unwrap_err().to_string();
    assert!(said.ends_with(": files of several splits (test, train); say which by `files`"), "{said}");
    let of = |files: &str| SampleSet::of(&RowSource { files: Some(files.to_owned()), ..RowSource::all(dir.path()) });
    assert_eq!(of("test-*").unwrap().get(0).unwrap().question, "test");
    assert_eq!(of("*.parquet").unwrap().len(), 2);
    let said = of("dev-*").unwrap_err().to_string();
    assert!(
        said.contains("no file of rows that is named \"dev-*\"; it has test-00000-of-00001.parquet, train-"),
        "{said}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn damage_anywhere_is_an_error_or_a_row_and_never_a_panic(at in 0usize..3000, byte: u8, file in 0usize..3) {
        let names = ["messages/lists.parquet", "messages/parts.parquet", "r1v/data/train-00000-of-00002.parquet"];
        let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published").join(names[file]);
        let mut bytes = std::fs::read(published).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("rows.parquet");
        std::fs::write(&path, bytes).unwrap();
        if let Ok(set) = open(path) {
            for index in 0..set.len().min(8) {
                let _ = set.get(index);
            }
        }
    }
}
