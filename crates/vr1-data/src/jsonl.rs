use std::path::Path;

use crate::conversation::Conversation;
use crate::dataset::check_index;
use crate::files::{IMAGE_MARKER, VIDEO_MARKER, images, videos};
use crate::rows::{Row, Rows};
use crate::{Dataset, Result, Sample};

/// Rows of questions about image and video files, as VLM-R1 writes them: one JSON object a line, or all of them
/// in one list,
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
    samples: Vec<Sample>,
}

impl JsonlDataset {
    /// Reads and checks every row; media are only looked for, and decoded when a sample is used.
    ///
    /// # Errors
    /// When the file cannot be read or has no row, or any row is malformed or names a file that is not there; bad rows
    /// are listed together, as `file:line: reason`.
    pub fn open(path: impl AsRef<Path>, image_root: impl AsRef<Path>) -> Result<Self> {
        let mut samples = vec![];
        let rows = Rows::open(path.as_ref(), |row| {
            samples.push(parse(row, image_root.as_ref())?);
            Ok(())
        })?;
        Ok(Self { name: rows.name().to_owned(), samples })
    }
}

impl Dataset for JsonlDataset {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.samples.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        check_index(self, index)?;
        Ok(self.samples[index].clone())
    }
}

fn parse(row: Row, image_root: &Path) -> Result<Sample, String> {
    let Row { id, mut fields } = row;
    let images = images("image", fields.shift_remove("image"), image_root)?;
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
    let Conversation { question, solution, turns } = conversation;
    Ok(Sample { id, media, question, solution, turns, fields })
}
