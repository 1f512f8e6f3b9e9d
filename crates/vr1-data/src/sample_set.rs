use std::ops::ControlFlow;
use std::path::Path;

use serde_json::Value;

use crate::answered::{Answered, key};
use crate::files::Root;
use crate::row_set::{RowSet, beside};
use crate::rows::Row;
use crate::said::places_of;
use crate::sample::STAGES;
use crate::shown::Shown;
use crate::{Dataset, Fields, Result, RowSource, Said, Sample, Speaker, Turn};

/// Rows of questions with their answers, and what they are asked about: JSON objects one a line, in one list, or rows of
/// parquet.
///
/// ```json
/// {"id": 1, "image": "a.png", "conversations": [{"from": "human", "value": "<image>How many?"}, {"from": "gpt", "value": "3"}]}
/// ```
///
/// The keys of a row decide how it is read, by the first of these that it has:
///
/// | question | answer | as written by |
/// |---|---|---|
/// | `conversations` or `messages` | their last message | VLM-R1, LLaVA, ShareGPT, LLaMA-Factory, ms-swift, OpenAI |
/// | `problem`, `question`, `query` or `prompt`; a prompt may be messages | `answer`, `solution`, `response`, `output` or `completion`, the first of these that is there | R1-V, open-r1-multimodal, Open-R1-Video |
/// | `instruction`, with `input` and `history` | the same | Alpaca |
///
/// The solution is a text's inside of its last `<answer>`, or the text whole, without white space around; a number; or of a list its JSON
/// with a space after each comma, as in `[1, 2.5]`. Where an `<answer>` stood in a longer text, the whole is the field `response`.
/// A conversation of two to four exchanges is a staged one, as LlamaV-o1 imitates it: its exchanges become the sample's turns
/// `summary`, `caption`, `reasoning` and `conclusion`, in this order; the turns of a longer one are called `1`, `2` and so on.
/// The question is the first message, the solution comes from the last. The words of a system's message and of `system` are the
/// field `system`. Every other key of the row, such as `accu_reward_method`, goes into the sample's fields.
///
/// `images` or `image`, else `image_path`, is a picture, a list of pictures, or absent. A picture is a path, `{"bytes", "path"}` as
/// `datasets` writes it, base64 or a data URI. `video` is a file, a folder of frames, or a list of frames; `videos` is a list of such.
/// Paths are relative to the images' folder. They are shown in order where what the user says has `<image>` and `<video>` or a part
/// `{"type": "image"}`: as many markers as images and as many as videos, or none of a kind, which then comes before the question. A
/// row that shows nothing has no other key that begins with `image` or `video`.
pub type SampleSet = RowSet<Sample>;

impl SampleSet {
    /// The rows of a file, or of the files of a folder, the paths of whose media are relative to `images`.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn open(path: impl AsRef<Path>, images: impl AsRef<Path>) -> Result<Self> {
        Self::of(&beside(path.as_ref(), images.as_ref()))
    }

    /// Finds the rows of a source, and reads and checks the first; media are only looked for.
    ///
    /// # Errors
    /// When a file cannot be read or there is no row, or a row that is checked is malformed, of no layout, or names a file that
    /// is not there; bad rows are listed together, as `file:line: reason`.
    pub fn of(source: &RowSource) -> Result<Self> {
        Self::checked(source, parse)
    }

    /// Goes through the rows of a source in order, good and bad, and hands each over with its file and place, as `file:line`,
    /// until it is told to stop. One row is held at a time.
    ///
    /// # Errors
    /// When a file is missing or holds no rows at all, a filter names no column, or filters leave nothing.
    pub fn visit(source: &RowSource, to: impl FnMut(&str, Result<Sample, String>) -> ControlFlow<()>) -> Result<()> {
        Self::visited(source, parse, to)
    }
}

impl Dataset for SampleSet {
    fn name(&self) -> &str {
        self.name()
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        self.get(index)
    }
}

fn parse(row: Row, folder: &Path) -> Result<Sample, String> {
    let Row { id, at, mut fields } = row;
    let root = Root { folder, at: &at };
    refuse(&fields)?;
    let key = key(&fields)?;
    let shown = Shown::take(&mut fields, root)?;
    let Answered { asked, answers, solution, response } = Answered::take(&mut fields, key, root)?;
    let (said, media) = shown.place(asked)?;
    let system = said.iter().filter(|turn| turn.speaker == Speaker::System).map(Said::words);
    let system = system.collect::<Vec<_>>().join("\n");
    if !system.is_empty() {
        fields.insert("system".to_owned(), system.into());
    }
    if let Some(response) = response {
        fields.insert("response".to_owned(), response.into());
    }
    let asked: Vec<Said> = said.into_iter().filter(|turn| turn.speaker == Speaker::User).collect();
    let question = asked.first().map_or_else(String::new, Said::words);
    let count = answers.len();
    let turn = |(i, (asked, answer)): (usize, (&Said, String))| Turn {
        name: if count <= STAGES.len() { STAGES[i].to_owned() } else { (i + 1).to_string() },
        prompt: asked.words(),
        answer,
    };
    let turns = asked.iter().zip(answers).enumerate().map(turn).collect();
    Ok(Sample { id, media, places: places_of(asked.iter()), question, solution, turns, fields })
}

/// Names what a row has that would be lost on the way.
fn refuse(fields: &Fields) -> Result<(), String> {
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !["", "[]"].contains(&text.trim()),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    for (key, what) in [("tools", "descriptions of tools"), ("audios", "sounds"), ("audio", "sounds")] {
        if fields.get(key).is_some_and(says) {
            return Err(format!("{key}: {what} are not read; leave the key out of the rows that do without"));
        }
    }
    Ok(())
}
