use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::conversation::Conversation;
use crate::dataset::check_index;
use crate::faults::Faults;
use crate::{Dataset, Error, Fields, Media, Picture, Result, Sample, Video};

/// What stands in a question's text for an image.
const IMAGE_MARKER: &str = "<image>";

/// What stands in a question's text for a video.
const VIDEO_MARKER: &str = "<video>";

/// Rows of questions about image and video files, as VLM-R1 writes them: one JSON object a line,
///
/// ```json
/// {"id": 1, "image": "a.png", "conversations": [{"from": "human", "value": "<image>How many?"}, {"from": "gpt", "value": "3"}]}
/// ```
///
/// `image` is a path, a list of paths, or absent; paths are relative to the image root. `video` is a file, a folder of
/// frames, or a list of frames; `videos` is a list of such. Images, then videos come before the text wherever the
/// `<image>` and `<video>` markers stand, and the markers are removed. The answer is a text, a number or a list; of a text
/// the `<answer>` tags and the white space around it are removed, a list becomes JSON with a space after each comma, as
/// in `[1, 2.5]`. A conversation of two to four exchanges is a staged one, as LlamaV-o1 imitates it: its exchanges become the
/// sample's turns `summary`, `caption`, `reasoning` and `conclusion`, in this order, the question is the first message and
/// the solution the last. Every other key of the row, such as `accu_reward_method`, goes into the sample's fields.
#[derive(Debug, Clone)]
pub struct JsonlDataset {
    name: String,
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    id: String,
    media: Vec<Media>,
    conversation: Conversation,
    fields: Fields,
}

impl JsonlDataset {
    /// Reads and checks every row; media are only looked for, and decoded when a sample is used.
    ///
    /// # Errors
    /// When the file cannot be read or has no row, or any row is malformed or names a file that is not there; bad rows
    /// are listed together, as `file:line: reason`.
    pub fn open(path: impl AsRef<Path>, image_root: impl AsRef<Path>) -> Result<Self> {
        let (path, image_root) = (path.as_ref(), image_root.as_ref());
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let name = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes); // a byte-order mark
        let (mut rows, mut faults) = (vec![], Faults::default());
        for (at, line) in bytes.split(|&b| b == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match parse_row(line, image_root, || format!("{name}:{}", at + 1)) {
                Ok(row) => rows.push(row),
                Err(reason) => faults.note(path, at + 1, &reason),
            }
        }
        faults.into_result()?;
        if rows.is_empty() {
            return Err(Error::Rows { faults: vec![format!("{}: no rows", path.display())] });
        }
        Ok(Self { name, rows })
    }
}

impl Dataset for JsonlDataset {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        check_index(self, index)?;
        let row = &self.rows[index];
        Ok(Sample {
            id: row.id.clone(),
            media: row.media.clone(),
            question: row.conversation.question.clone(),
            solution: row.conversation.solution.clone(),
            turns: row.conversation.turns.clone(),
            fields: row.fields.clone(),
        })
    }
}

fn parse_row(line: &[u8], image_root: &Path, nameless: impl Fn() -> String) -> Result<Row, String> {
    let mut fields: Fields = serde_json::from_slice(line).map_err(|e| format!("not a JSON object: {e}"))?;
    let images = images(fields.shift_remove("image"), image_root)?;
    let videos = videos(fields.shift_remove("video"), fields.shift_remove("videos"), image_root)?;
    let mut conversation = Conversation::parse(fields.shift_remove("conversations"))?;
    let markers = [(IMAGE_MARKER, "image", images.is_empty()), (VIDEO_MARKER, "video", videos.is_empty())];
    for prompt in conversation.prompts() {
        for (marker, name, none) in markers {
            if none && prompt.contains(marker) {
                return Err(format!("the question has {marker}, but the row has no {name}"));
            }
            *prompt = prompt.replace(marker, "");
        }
    }
    let media = images.into_iter().chain(videos).collect();
    let id = match fields.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => nameless(),
    };
    Ok(Row { id, media, conversation, fields })
}

fn images(image: Option<Value>, root: &Path) -> Result<Vec<Media>, String> {
    let listed = match image {
        None | Some(Value::Null) => vec![],
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    listed.into_iter().map(|value| Ok(Media::Image(picture("image", value, root)?))).collect()
}

fn picture(key: &str, value: Value, root: &Path) -> Result<Picture, String> {
    let path = path(key, value, root)?;
    if path.is_file() { Ok(Picture::File(path)) } else { Err(format!("{key}: no file {}", path.display())) }
}

fn path(key: &str, value: Value, root: &Path) -> Result<PathBuf, String> {
    let Value::String(path) = value else { return Err(format!("{key}: {value} is no path")) };
    Ok(root.join(path))
}

fn videos(one: Option<Value>, several: Option<Value>, root: &Path) -> Result<Vec<Media>, String> {
    let present = |value: &Value| !value.is_null();
    let listed = match several.filter(present) {
        None => vec![],
        Some(Value::Array(list)) => list,
        Some(other) => return Err(format!("videos: {other} is no list")),
    };
    let video = |value: Value| match value {
        Value::Array(frames) if frames.is_empty() => Err("video: a list without frames".to_owned()),
        Value::Array(frames) => {
            let frames = frames.into_iter().map(|frame| picture("video", frame, root)).collect::<Result<_, _>>()?;
            Ok(Media::Video(Video::Frames { frames, fps: None }))
        }
        value => Video::open(&path("video", value, root)?).map(Media::Video).map_err(|e| format!("video: {e}")),
    };
    one.filter(present).into_iter().chain(listed).map(video).collect()
}
