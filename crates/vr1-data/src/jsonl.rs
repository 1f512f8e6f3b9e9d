use std::path::Path;

use crate::conversation::Conversation;
use crate::dataset::check_index;
use crate::faults::keys;
use crate::rows::{Row, Rows};
use crate::said::places_of;
use crate::sample::STAGES;
use crate::shown::Shown;
use crate::spoken::present;
use crate::{Dataset, Result, Said, Sample, Turn};

/// The keys of a row that are read.
const LAYOUT: &str =
    "conversations: [{from: human, value}, {from: gpt, value}], with image, images or image_path, video or videos";

/// Rows of questions about image and video files, as VLM-R1 writes them: one JSON object a line, or all of them
/// in one list,
///
/// ```json
/// {"id": 1, "image": "a.png", "conversations": [{"from": "human", "value": "<image>How many?"}, {"from": "gpt", "value": "3"}]}
/// ```
///
/// `image` or `images`, else `image_path`, is a path, a list of paths, or absent; paths are relative to the image root. `video`
/// is a file, a folder of frames, or a list of frames; `videos` is a list of such. They are shown in order where what the user
/// says has `<image>` and `<video>`: as many markers as images and as many as videos, or none of a kind, which then comes before
/// the question. A row that shows nothing has no other key that begins with `image` or `video`. The answer is a text, a number or
/// a list; of a text the inside of its last `<answer>` is the solution, or all of it, without white space around; a list becomes
/// JSON with a space after each comma, as
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
    let Some(messages) = present(&mut fields, "conversations") else {
        let has = keys(&fields);
        return Err(format!("conversations: missing; the row has the keys {has}, known is {LAYOUT}"));
    };
    let shown = Shown::take(&mut fields, image_root)?;
    let Conversation { asked, answers, solution } = Conversation::parse(messages)?;
    let (asked, media) = shown.place(asked)?;
    let question = asked.first().map_or_else(String::new, Said::words);
    let exchanges = STAGES.iter().zip(asked.iter().zip(answers));
    let turn = |(name, (asked, answer)): (&&str, (&Said, String))| Turn {
        name: (*name).to_owned(),
        prompt: asked.words(),
        answer,
    };
    let turns = exchanges.map(turn).collect();
    Ok(Sample { id, media, places: places_of(asked.iter()), question, solution, turns, fields })
}
