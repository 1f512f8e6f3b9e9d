//! Pictures and videos that a row names by their paths.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::faults::{NO_FILE, shortened};
use crate::local::{brief, not_local};
use crate::spoken::present;
use crate::{Fields, Media, Picture, Video, encoded};

/// What a row's media are found by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Root<'a> {
    /// What paths are relative to.
    pub(crate) folder: &'a Path,
    /// Where the row stands, for the errors of pictures inside it.
    pub(crate) at: &'a str,
}

/// What stands in a user's text for an image.
pub(crate) const IMAGE_MARKER: &str = "<image>";

/// What stands in a user's text for a video.
pub(crate) const VIDEO_MARKER: &str = "<video>";

/// A path, a list of paths, or none: each an image.
pub(crate) fn images(key: &str, value: Option<Value>, root: Root<'_>) -> Result<Vec<Media>, String> {
    let listed = match value {
        None | Some(Value::Null) => vec![],
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    listed.into_iter().map(|value| Ok(Media::Image(picture(key, value, root)?))).collect()
}

/// One video and a list of such, each a file, a folder of frames, or a list of frames.
pub(crate) fn videos(one: Option<Value>, several: Option<Value>, root: Root<'_>) -> Result<Vec<Media>, String> {
    let present = |value: &Value| !value.is_null();
    let listed = match several.filter(present) {
        None => vec![],
        Some(Value::Array(list)) => list,
        Some(other) => return Err(format!("videos: {} is no list", shortened(&other))),
    };
    one.filter(present).into_iter().chain(listed).map(|value| video("video", value, root)).collect()
}

pub(crate) fn video(key: &str, value: Value, root: Root<'_>) -> Result<Media, String> {
    match value {
        Value::Array(frames) if frames.is_empty() => Err(format!("{key}: a list without frames")),
        Value::Array(frames) => {
            let frames = frames.into_iter().map(|frame| picture(key, frame, root)).collect::<Result<_, _>>()?;
            Ok(Media::Video(Video::Frames { frames, fps: None }))
        }
        Value::Object(mut fields) => match (present(&mut fields, "bytes"), present(&mut fields, "path")) {
            (Some(_), _) => Err(format!("{key}: a video's bytes inside a row are not read; write them to a file")),
            (None, Some(path @ Value::String(_))) => video(key, path, root),
            _ => Err(format!("{key}: neither bytes nor path")),
        },
        value => {
            let (path, _) = path(key, value, root)?;
            Video::open(&path).map(Media::Video).map_err(|e| format!("{key}: {e}"))
        }
    }
}

/// A path, base64, a data URI, or `{bytes, path}` as the `datasets` library writes pictures.
pub(crate) fn picture(key: &str, value: Value, root: Root<'_>) -> Result<Picture, String> {
    let at = || PathBuf::from(format!("{}: {key}", root.at));
    match value {
        Value::Object(fields) if fields.contains_key("bytes") || fields.contains_key("path") => {
            stored(key, fields, root)
        }
        Value::String(text) => match encoded::picture(&text, &at()) {
            Some(picture) => picture.map_err(|reason| format!("{key}: {reason}")),
            None => file(key, Value::String(text), root),
        },
        other => file(key, other, root),
    }
}

/// Bytes, or where there are none a path.
fn stored(key: &str, mut fields: Fields, root: Root<'_>) -> Result<Picture, String> {
    match (present(&mut fields, "bytes"), present(&mut fields, "path")) {
        (Some(Value::String(text)), _) => encoded::bytes(&text, Path::new(&format!("{}: {key}", root.at)))
            .map_err(|reason| format!("{key}.bytes: {reason}")),
        (Some(other), _) => Err(format!("{key}.bytes: {} is no base64", shortened(&other))),
        (None, Some(path)) => file(key, path, root),
        (None, None) => Err(format!("{key}: neither bytes nor path")),
    }
}

fn file(key: &str, value: Value, root: Root<'_>) -> Result<Picture, String> {
    let (path, said) = path(key, value, root)?;
    if path.is_file() { Ok(Picture::File(path)) } else { Err(format!("{key}: {NO_FILE} {said}")) }
}

/// A path below the folder, and as an error tells it.
fn path(key: &str, value: Value, root: Root<'_>) -> Result<(PathBuf, String), String> {
    let Value::String(text) = value else { return Err(format!("{key}: {} is no path", shortened(&value))) };
    let path = root.folder.join(&text);
    let whole = path.to_string_lossy();
    for (path, text) in [(Path::new(&text), &*text), (&path, &*whole)] {
        if let Some(reason) = not_local(path) {
            return Err(format!("{key}: {:?} {reason}", brief(text)));
        }
    }
    let said = root.folder.join(brief(&text)).display().to_string();
    Ok((path, said))
}
