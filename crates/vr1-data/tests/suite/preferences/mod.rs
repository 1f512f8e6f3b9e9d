//! Rows of preferences and of judged answers, as other projects write them, become conversations with media.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

mod drawn;
mod judged;
mod layouts;
mod media;
mod refusals;

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use vr1_data::{JudgedSet, Media, Picture, PreferenceSet, Said, SaidPart, Sample, Speaker, Video};

/// A folder of pictures `0.png` to `3.png` and a folder of frames `clip`.
fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("clip")).unwrap();
    for name in ["0.png", "1.png", "2.png", "3.png", "clip/1.png", "clip/2.png"] {
        image::RgbImage::new(2, 2).save(dir.path().join(name)).unwrap();
    }
    dir
}

fn written(dir: &TempDir, rows: &str) -> PathBuf {
    let path = dir.path().join("rows.jsonl");
    std::fs::write(&path, rows).unwrap();
    path
}

fn preferences(dir: &TempDir, rows: &str) -> vr1_data::Result<PreferenceSet> {
    PreferenceSet::open(&written(dir, rows), dir.path())
}

fn judgements(dir: &TempDir, rows: &str) -> vr1_data::Result<JudgedSet> {
    JudgedSet::open(&written(dir, rows), dir.path())
}

/// The only row of a file as a preference.
fn preference(row: &Value) -> vr1_data::Preference {
    let dir = folder();
    let set = preferences(&dir, &row.to_string()).unwrap();
    assert_eq!((set.name(), set.len()), ("rows", 1));
    set.get(0).unwrap()
}

fn system(text: &str) -> Said {
    Said::text(Speaker::System, text)
}

fn user(text: &str) -> Said {
    Said::text(Speaker::User, text)
}

fn assistant(text: &str) -> Said {
    Said::text(Speaker::Assistant, text)
}

/// A user's turn with words and, by number, media.
fn shows(parts: &[Result<&str, usize>]) -> Said {
    let part = |part: &Result<&str, usize>| match part {
        Ok(text) => SaidPart::Text((*text).to_owned()),
        Err(media) => SaidPart::Media(*media),
    };
    Said { speaker: Speaker::User, parts: parts.iter().map(part).collect() }
}

/// The names of a sample's files, of a video's frames the first.
fn files(sample: &Sample) -> Vec<String> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let file = |media: &Media| match media {
        Media::Image(Picture::File(path)) => name(path),
        Media::Video(Video::Frames { frames, .. }) => match &frames[0] {
            Picture::File(path) => format!("video {}", name(path)),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    sample.media.iter().map(file).collect()
}

/// The message without the folder, which differs from run to run.
fn message<T: std::fmt::Debug>(dir: &TempDir, result: vr1_data::Result<T>) -> String {
    result.unwrap_err().to_string().replace(&format!("{}/", dir.path().display()), "")
}
