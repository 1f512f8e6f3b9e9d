//! Pictures and videos that a row names by their paths.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::faults::shortened;
use crate::local::{brief, not_local};
use crate::{Media, Picture, Video};

/// What stands in a user's text for an image.
pub(crate) const IMAGE_MARKER: &str = "<image>";

/// What stands in a user's text for a video.
pub(crate) const VIDEO_MARKER: &str = "<video>";

/// A path, a list of paths, or none: each an image.
pub(crate) fn images(key: &str, value: Option<Value>, root: &Path) -> Result<Vec<Media>, String> {
    let listed = match value {
        None | Some(Value::Null) => vec![],
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    listed.into_iter().map(|value| Ok(Media::Image(picture(key, value, root)?))).collect()
}

/// One video and a list of such, each a file, a folder of frames, or a list of frames.
pub(crate) fn videos(one: Option<Value>, several: Option<Value>, root: &Path) -> Result<Vec<Media>, String> {
    let present = |value: &Value| !value.is_null();
    let listed = match several.filter(present) {
        None => vec![],
        Some(Value::Array(list)) => list,
        Some(other) => return Err(format!("videos: {} is no list", shortened(&other))),
    };
    one.filter(present).into_iter().chain(listed).map(|value| video("video", value, root)).collect()
}

pub(crate) fn video(key: &str, value: Value, root: &Path) -> Result<Media, String> {
    match value {
        Value::Array(frames) if frames.is_empty() => Err(format!("{key}: a list without frames")),
        Value::Array(frames) => {
            let frames = frames.into_iter().map(|frame| picture(key, frame, root)).collect::<Result<_, _>>()?;
            Ok(Media::Video(Video::Frames { frames, fps: None }))
        }
        value => {
            let (path, _) = path(key, value, root)?;
            Video::open(&path).map(Media::Video).map_err(|e| format!("{key}: {e}"))
        }
    }
}

pub(crate) fn picture(key: &str, value: Value, root: &Path) -> Result<Picture, String> {
    let (path, said) = path(key, value, root)?;
    if path.is_file() { Ok(Picture::File(path)) } else { Err(format!("{key}: no file {said}")) }
}

/// A path below `root`, and as an error tells it.
fn path(key: &str, value: Value, root: &Path) -> Result<(PathBuf, String), String> {
    let Value::String(text) = value else { return Err(format!("{key}: {} is no path", shortened(&value))) };
    let path = root.join(&text);
    let whole = path.to_string_lossy();
    for (path, text) in [(Path::new(&text), &*text), (&path, &*whole)] {
        if let Some(reason) = not_local(path) {
            return Err(format!("{key}: {:?} {reason}", brief(text)));
        }
    }
    let said = root.join(brief(&text)).display().to_string();
    Ok((path, said))
}
