use std::ops::ControlFlow;
use std::path::Path;

use serde_json::Value;

use crate::asked::{self, has};
use crate::files::Root;
use crate::row_set::{RowSet, beside};
use crate::rows::Row;
use crate::said::{last_places, last_words};
use crate::shown::{Shown, check};
use crate::spoken::{Spoken, answer, messages, present, turns};
use crate::{Fields, Result, RowSource, Said, Sample, Speaker};

/// The keys of a row by which its layout is known.
const LAYOUTS: [&str; 7] = [
    "prompt + chosen + rejected",
    "chosen + rejected, which begin alike",
    "question + chosen + rejected",
    "conversations + chosen + rejected",
    "messages + chosen + rejected",
    "instruction (+ input) + chosen + rejected",
    "text: {question, chosen, rejected}",
];

/// A prompt with a better and a worse answer.
#[derive(Debug, Clone)]
pub struct Preference {
    /// The question is what the user said last, the solution what the better answer says last, the media are in the
    /// order in which the prompt shows them, and the fields are the row's other keys.
    pub sample: Sample,
    /// Ends with the user. Only here are media shown, each of the sample's once.
    pub prompt: Vec<Said>,
    /// The better answer; begins and ends with the assistant.
    pub chosen: Vec<Said>,
    /// The worse answer; another than the better one.
    pub rejected: Vec<Said>,
}

/// Rows of preferences, as TRL, RLHF-V and LLaMA-Factory write them: JSON objects one a line, or in one list.
///
/// The keys of a row decide how it is read: `chosen` and `rejected`, with the prompt under the first of these that it has.
///
/// | key | holds |
/// |---|---|
/// | `prompt` | a text, or messages |
/// | `question` | a text (RLHF-V, RLAIF-V); the three may stand together in an object, or its JSON, under `text` |
/// | `conversations`, `messages` | messages |
/// | `instruction` | a text, with `input` below it and `history`, a list of `[question, answer]`, before it |
/// | none of them | the prompt is what `chosen` and `rejected` both begin with |
///
/// A message is `{"role": …, "content": …}` or `{"from": …, "value": …}`, of `system`, `user` (`human`) or `assistant`
/// (`gpt`); its content is a text, or a list of `{"type": "text", "text": …}`, `{"type": "image"}` and
/// `{"type": "video"}`. A text as `prompt` is the user's, as `chosen` or `rejected` the assistant's; white space is
/// kept. `system`, a text, stands above the prompt.
///
/// Two lists of messages have in common those they begin with; two texts the characters they begin with, less one space
/// at their end, as in TRL's `extract_prompt`. As there, the shorter of two where one begins the other leaves its last
/// message or character to the answer, and a prompt that is a text gives way to the messages that both lists begin with.
///
/// Media are under `images` or `image` (a path or a list), else `image_path`; under `video` a file, a folder of frames
/// or a list of frames, under `videos` a list of such; all relative to the images' folder. They are shown in order, where
/// the prompt's `{"type": "image"}` and `{"type": "video"}` stand and where a user's text has `<image>` and `<video>`;
/// where there is no place at all, before the words of the first user's turn, images first. A part may name its own file,
/// `{"type": "image", "image": "a.png"}`. In what anyone else says, `<image>` is text.
///
/// ```
/// use vr1_data::{PreferenceSet, Said, SaidPart, Speaker};
///
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("rows.jsonl"), r#"{"question": "2 + 2?", "chosen": "4", "rejected": "5", "source": "sums"}"#)?;
/// let preference = PreferenceSet::open(&dir.path().join("rows.jsonl"), dir.path())?.get(0)?;
/// assert_eq!(preference.prompt, [Said::text(Speaker::User, "2 + 2?")]);
/// assert_eq!(preference.chosen, [Said::text(Speaker::Assistant, "4")]);
/// assert_eq!(preference.rejected, [Said::text(Speaker::Assistant, "5")]);
/// assert_eq!(preference.sample.solution, "4");
/// assert_eq!(preference.sample.fields["source"], "sums");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type PreferenceSet = RowSet<Preference>;

impl PreferenceSet {
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
    /// When a file cannot be read or there is no row, or a row that is checked is malformed, of no layout, has an empty answer or two that
    /// are the same, or names a file that is not there;
    /// bad rows are listed together, as `file:line: reason`.
    pub fn of(source: &RowSource) -> Result<Self> {
        Self::checked(source, parse)
    }

    /// Goes through the rows of a source in order, good and bad, and hands each over with its file and place, as `file:line`,
    /// until it is told to stop. One row is held at a time.
    ///
    /// # Errors
    /// When a file is missing or holds no rows at all, a filter names no column, or filters leave nothing.
    pub fn visit(
        source: &RowSource,
        to: impl FnMut(&str, Result<Preference, String>) -> ControlFlow<()>,
    ) -> Result<()> {
        Self::visited(source, parse, to)
    }
}

fn parse(row: Row, folder: &Path) -> Result<Preference, String> {
    let Row { id, at, mut fields } = row;
    let root = Root { folder, at: &at };
    unfold_text(&mut fields);
    if !(has(&fields, "chosen") && has(&fields, "rejected")) {
        return Err(asked::unknown(&fields, &LAYOUTS));
    }
    let shown = Shown::take(&mut fields, root)?;
    let answers = ["chosen", "rejected"].map(|key| present(&mut fields, key).unwrap_or_default());
    let key = asked::key(&fields).filter(|key| !(fields[*key].is_string() && begin_alike(&answers)));
    let [prompt, chosen, rejected] = match key {
        None => implicit(answers, root)?,
        Some(key) => {
            let [chosen, rejected] = answers;
            [
                asked::take(&mut fields, key, root)?,
                turns("chosen", chosen, Speaker::Assistant, root)?,
                turns("rejected", rejected, Speaker::Assistant, root)?,
            ]
        }
    };
    let prompt = asked::below_system(&mut fields, prompt)?;
    check(&prompt)?;
    let (prompt, media) = shown.place(prompt)?;
    let (chosen, rejected) = (answer(chosen)?, answer(rejected)?);
    if chosen == rejected {
        return Err("chosen, rejected: the same answer".to_owned());
    }
    let question = last_words(&prompt, Speaker::User);
    let solution = last_words(&chosen, Speaker::Assistant);
    let sample = Sample { id, media, places: last_places(&prompt), question, solution, fields, ..Sample::default() };
    Ok(Preference { sample, prompt, chosen, rejected })
}

/// RLHF-V's rows have question and answers in an object of their own, or its JSON.
fn unfold_text(fields: &mut Fields) {
    let inner = match fields.get("text") {
        Some(Value::Object(inner)) => Some(inner.clone()),
        Some(Value::String(text)) => serde_json::from_str::<Fields>(text).ok(),
        _ => None,
    };
    let free = |key: &&str| !has(fields, key);
    if let Some(inner) = inner
        && ["question", "chosen", "rejected"].iter().all(|key| free(key) && has(&inner, key))
    {
        fields.shift_remove("text");
        fields.extend(inner);
    }
}

/// Whether both answers are lists whose first messages are the same.
fn begin_alike(answers: &[Value; 2]) -> bool {
    matches!(answers, [Value::Array(a), Value::Array(b)] if common(a, b) > 0)
}

/// Prompt and answers of two that contain their prompt.
fn implicit(answers: [Value; 2], root: Root<'_>) -> Result<[Vec<Spoken>; 3], String> {
    let nothing = || "chosen, rejected: the row has no prompt, and they do not begin alike".to_owned();
    match answers {
        [Value::String(chosen), Value::String(rejected)] => {
            let (a, b): (Vec<char>, Vec<char>) = (chosen.chars().collect(), rejected.chars().collect());
            let mut cut = common(&a, &b);
            if cut > 0 && a.get(cut) != b.get(cut) && a[cut - 1] == ' ' {
                cut -= 1;
            }
            if a[..cut].iter().all(|c| c.is_whitespace()) {
                return Err(nothing());
            }
            let text = |key, who, chars: &[char]| vec![Spoken::text(key, who, chars.iter().collect())];
            Ok([
                text("chosen", Speaker::User, &a[..cut]),
                text("chosen", Speaker::Assistant, &a[cut..]),
                text("rejected", Speaker::Assistant, &b[cut..]),
            ])
        }
        [Value::Array(a), Value::Array(b)] => match common(&a, &b) {
            0 => Err(nothing()),
            cut => {
                let mut prompt = messages("chosen", Value::Array(a), root)?;
                let chosen = prompt.split_off(cut);
                Ok([prompt, chosen, messages("rejected", Value::Array(b), root)?.split_off(cut)])
            }
        },
        _ => Err("chosen, rejected: the row has no prompt, and they are not two texts or two lists".to_owned()),
    }
}

/// How many items two lists begin with alike, so that something is left of both.
fn common<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let shorter = a.len().min(b.len());
    a.iter().zip(b).position(|(x, y)| x != y).unwrap_or(shorter.saturating_sub(1))
}
