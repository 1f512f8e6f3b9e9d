use std::ops::ControlFlow;
use std::path::Path;

use serde_json::Value;

use crate::asked::{self, has};
use crate::faults::shortened;
use crate::files::Root;
use crate::row_set::{RowSet, beside};
use crate::rows::Row;
use crate::said::{last_places, last_words};
use crate::shown::{Shown, check};
use crate::spoken::{answer, present, turns};
use crate::{Fields, Result, RowSource, Said, Sample, Speaker};

/// The keys of a row by which its layout is known, each with `label` or `kto_tag`.
const LAYOUTS: [&str; 5] = [
    "prompt + completion + label",
    "question + completion + label",
    "messages + label",
    "conversations + kto_tag",
    "instruction (+ input) + output + kto_tag",
];

/// A prompt with one answer that somebody judged.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The question is what the user said last; the solution is what the answer says last, or nothing if the answer is not
    /// desirable. The media are in the order in which the prompt shows them, and the fields are the row's other keys.
    pub sample: Sample,
    /// Ends with the user. Only here are media shown, each of the sample's once.
    pub prompt: Vec<Said>,
    /// The answer; begins and ends with the assistant.
    pub completion: Vec<Said>,
    /// Whether it was found good.
    pub desirable: bool,
}

/// Rows of judged answers, as TRL and LLaMA-Factory write them for KTO: JSON objects one a line, or in one list.
///
/// The verdict is `label` or `kto_tag`, `true` or `false`. The keys of a row decide how it is read, by the first of these
/// that it has; messages, media and their places are as in a [`PreferenceSet`](crate::PreferenceSet).
///
/// | prompt | answer |
/// |---|---|
/// | `prompt`, a text or messages | `completion`, a text or messages |
/// | `question`, a text | `completion` |
/// | `conversations` or `messages` | their last message |
/// | `instruction`, with `input` and `history` | `output` |
///
/// ```
/// use vr1_data::{JudgedSet, Said, Speaker};
///
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("rows.jsonl"), r#"{"prompt": "2 + 2?", "completion": "5", "label": false}"#)?;
/// let judged = JudgedSet::open(&dir.path().join("rows.jsonl"), dir.path())?.get(0)?;
/// assert_eq!(judged.completion, [Said::text(Speaker::Assistant, "5")]);
/// assert!(!judged.desirable);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type JudgedSet = RowSet<Judged>;

impl JudgedSet {
    /// The rows of a file, or of the files of a folder, the paths of whose media are relative to `images`.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn open(path: &Path, images: &Path) -> Result<Self> {
        Self::of(&beside(path, images))
    }

    /// Finds the rows of a source, and reads and checks the first; media are only looked for.
    ///
    /// # Errors
    /// When a file cannot be read or there is no row, or a row that is checked is malformed, of no layout, has an empty answer or no
    /// verdict, or names a file that is not there;
    /// bad rows are listed together, as `file:line: reason`.
    pub fn of(source: &RowSource) -> Result<Self> {
        Self::checked(source, parse)
    }

    /// Goes through the rows of a source in order, good and bad, and hands each over with its file and place, as `file:line`,
    /// until it is told to stop. One row is held at a time.
    ///
    /// # Errors
    /// When a file is missing or holds no rows at all, a filter names no column, or filters leave nothing.
    pub fn visit(source: &RowSource, to: impl FnMut(&str, Result<Judged, String>) -> ControlFlow<()>) -> Result<()> {
        Self::visited(source, parse, to)
    }
}

fn parse(row: Row, folder: &Path) -> Result<Judged, String> {
    let Row { id, at, mut fields } = row;
    let root = Root { folder, at: &at };
    let judged = has(&fields, "label") || has(&fields, "kto_tag");
    let complete = |key: &&str| has(&fields, key) && answer_key(key).is_none_or(|key| has(&fields, key));
    let Some(key) = asked::KEYS.into_iter().find(complete).filter(|_| judged) else {
        return Err(asked::unknown(&fields, &LAYOUTS));
    };
    let desirable = verdict(&mut fields)?;
    let shown = Shown::take(&mut fields, root)?;
    let mut prompt = asked::take(&mut fields, key, root)?;
    let completion = match answer_key(key) {
        Some(key) => turns(key, present(&mut fields, key).unwrap_or_default(), Speaker::Assistant, root)?,
        None if prompt.len() < 2 => return Err(format!("{key}: should be a prompt and an answer, is one message")),
        None => prompt.split_off(prompt.len() - 1),
    };
    let completion = answer(completion)?;
    let prompt = asked::below_system(&mut fields, prompt)?;
    check(&prompt)?;
    let (prompt, media) = shown.place(prompt)?;
    let question = last_words(&prompt, Speaker::User);
    let solution = if desirable { last_words(&completion, Speaker::Assistant) } else { String::new() };
    let sample = Sample { id, media, places: last_places(&prompt), question, solution, fields, ..Sample::default() };
    Ok(Judged { sample, prompt, completion, desirable })
}

/// Where the answer to a prompt under `key` stands, if not at the prompt's end.
fn answer_key(key: &str) -> Option<&'static str> {
    match key {
        "prompt" | "question" => Some("completion"),
        "instruction" => Some("output"),
        _ => None,
    }
}

fn verdict(fields: &mut Fields) -> Result<bool, String> {
    let key = match (has(fields, "label"), has(fields, "kto_tag")) {
        (true, true) => return Err("label, kto_tag: the row has both".to_owned()),
        (true, false) => "label",
        _ => "kto_tag",
    };
    match present(fields, key) {
        Some(Value::Bool(desirable)) => Ok(desirable),
        other => Err(format!("{key}: {}, should be true or false", shortened(&other.unwrap_or_default()))),
    }
}
