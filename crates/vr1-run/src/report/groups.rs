//! Recorded rollouts, and answers to held-out samples, as a page shows them: the answers of a group together.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{report::curves::short, report::settings::Judge, rollouts::read_rows, run_error::RunError};

/// A line of a file of rollouts or answers. Those of an objective of the user's own may lack anything.
#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    group: Option<u64>,
    completion_index: Option<usize>,
    #[serde(default)]
    pub(crate) set: Value,
    #[serde(default)]
    pub(crate) sample: Value,
    #[serde(default)]
    prompt: Value,
    #[serde(default)]
    completion: Value,
    #[serde(default)]
    solution: Value,
    tokens: Option<u64>,
    finished: Option<bool>,
    #[serde(default, alias = "reward")]
    total: Value,
    #[serde(default)]
    terms: Map<String, Value>,
    advantage: Option<f64>,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    media: Vec<Media>,
}

#[derive(Debug, Deserialize)]
struct Media {
    #[serde(default)]
    kind: String,
    width: Option<u64>,
    height: Option<u64>,
    thumbnail: Option<String>,
}

/// The rows of a file.
///
/// # Errors
/// The file cannot be opened; of a row, where it is none.
pub(crate) fn rows(path: &Path) -> Result<impl Iterator<Item = Result<Row, RunError>>, RunError> {
    let named = |error| match error {
        RunError::Broken { path, line, reason } => {
            RunError::Broken { path, line, reason: format!("not a rollout: {reason}") }
        }
        other => other,
    };
    Ok(read_rows::<Row>(path)?.map(move |row| row.map_err(named)))
}

/// What was asked, and every answer that is shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Group {
    pub(crate) group: u64,
    pub(crate) asked: Asked,
    pub(crate) answers: Vec<Answer>,
    /// Answers that are not shown.
    pub(crate) more: usize,
    /// How many of all answers are right, of how many that could be judged.
    pub(crate) right: usize,
    pub(crate) judged: usize,
    /// The greatest reward less the least, and the mean.
    pub(crate) spread: Option<f64>,
    pub(crate) mean: Option<f64>,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Asked {
    pub(crate) sample: String,
    pub(crate) prompt: Text,
    pub(crate) solution: Text,
    pub(crate) media: Vec<Picture>,
}

/// A picture or a video of a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Picture {
    /// The name of the file of its thumbnail, where there is one.
    pub(crate) file: Option<String>,
    kind: String,
    width: Option<u64>,
    height: Option<u64>,
}

/// One answer and what it was worth.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Answer {
    /// Which of its group's.
    index: usize,
    pub(crate) text: Text,
    tokens: Option<u64>,
    finished: Option<bool>,
    total: Option<f64>,
    terms: Vec<(String, Option<f64>)>,
    advantage: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// By the recipe's own metric; none where that was not said.
    pub(crate) right: Option<bool>,
}

/// A text, and how many letters were left out of its middle.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Text(pub(crate) String, pub(crate) usize);

/// The bytes that a text has at most.
const LONGEST: usize = 6_000;

impl Text {
    pub(crate) fn new(text: &str) -> Self {
        if text.len() <= LONGEST {
            return Self(text.to_owned(), 0);
        }
        let (head, tail) = (LONGEST * 2 / 3, text.len() - LONGEST / 3);
        let head = (0..=head).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let tail = (tail..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
        let left_out = text[head..tail].chars().count();
        Self(format!("{}\n[… {left_out} letters left out …]\n{}", &text[..head], &text[tail..]), left_out)
    }

    fn of(value: &Value) -> Self {
        Self::new(&plain(value))
    }
}

/// Text as it is, and of anything else its JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Row {
    pub(crate) fn asked(&self) -> Asked {
        let picture = |media: &Media| Picture {
            file: media.thumbnail.as_deref().and_then(thumbnail_file).map(str::to_owned),
            kind: if media.kind.is_empty() { "image".into() } else { media.kind.chars().take(20).collect() },
            width: media.width,
            height: media.height,
        };
        Asked {
            sample: Text::of(&self.sample).0,
            prompt: Text::of(&self.prompt),
            solution: Text::of(&self.solution),
            media: self.media.iter().take(MOST_MEDIA).map(picture).collect(),
        }
    }

    pub(crate) fn answer(&self, judge: &Judge, index: usize) -> Answer {
        let digits = |value: f64| short(value, 5);
        let terms = self.terms.iter().map(|(name, value)| (name.clone(), value.as_f64().and_then(digits))).collect();
        Answer {
            index: self.completion_index.unwrap_or(index),
            text: Text::of(&self.completion),
            tokens: self.tokens,
            finished: self.finished,
            total: self.total.as_f64().and_then(digits),
            terms,
            advantage: self.advantage.and_then(digits),
            error: (!self.error.is_null()).then(|| Text::of(&self.error).0),
            right: self.terms.get(&judge.metric).and_then(Value::as_f64).map(|value| value > judge.threshold),
        }
    }

    fn is_of(&self, other: &Self) -> bool {
        // Rows of before groups were numbered have the question alone.
        self.group == other.group && self.sample == other.sample && self.prompt == other.prompt
    }
}

/// Media shown of one question.
const MOST_MEDIA: usize = 8;

/// The name of a thumbnail's file where `path` is `media/HASH.jpg`: nothing else leads to a file.
fn thumbnail_file(path: &str) -> Option<&str> {
    path.strip_prefix("media/").filter(|name| is_thumbnail(name))
}

/// Whether `name` is 64 hexadecimal digits and `.jpg`.
pub(crate) fn is_thumbnail(name: &str) -> bool {
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.strip_suffix(".jpg").is_some_and(|hash| hash.len() == 64 && hash.bytes().all(hexadecimal))
}

/// The groups of a step, each with at most `most` answers: where there are more, those with the greatest and the least
/// rewards.
///
/// # Errors
/// The file cannot be read, or a line of it is no rollout.
pub(crate) fn groups(path: &Path, judge: &Judge, most: usize) -> Result<Vec<Group>, RunError> {
    let mut groups = Vec::new();
    let mut open: Vec<Row> = Vec::new();
    for row in rows(path)? {
        let row = row?;
        if open.first().is_some_and(|first| !first.is_of(&row)) {
            groups.extend(group(&open, groups.len(), judge, most));
            open.clear();
        }
        open.push(row);
    }
    groups.extend(group(&open, groups.len(), judge, most));
    Ok(groups)
}

fn group(rows: &[Row], index: usize, judge: &Judge, most: usize) -> Option<Group> {
    let first = rows.first()?;
    let mut answers: Vec<Answer> = rows.iter().enumerate().map(|(index, row)| row.answer(judge, index)).collect();
    let totals: Vec<f64> = answers.iter().filter_map(|answer| answer.total).collect();
    let least = totals.iter().copied().reduce(f64::min);
    let greatest = totals.iter().copied().reduce(f64::max);
    let (right, judged) = (count(&answers, Some(true)), answers.iter().filter(|one| one.right.is_some()).count());
    let more = answers.len().saturating_sub(most);
    if more > 0 {
        answers.sort_by(|a, b| a.total.unwrap_or(f64::MAX).total_cmp(&b.total.unwrap_or(f64::MAX)));
        answers.drain(most / 2..most / 2 + more);
        answers.sort_by_key(|answer| answer.index);
    }
    Some(Group {
        group: first.group.unwrap_or(index as u64),
        asked: first.asked(),
        answers,
        more,
        right,
        judged,
        spread: greatest.zip(least).and_then(|(greatest, least)| short(greatest - least, 5)),
        mean: (!totals.is_empty())
            .then(|| totals.iter().sum::<f64>() / totals.len() as f64)
            .and_then(|mean| short(mean, 5)),
    })
}

fn count(answers: &[Answer], right: Option<bool>) -> usize {
    answers.iter().filter(|answer| answer.right == right).count()
}

/// The bytes of a text within a page, where some letters are written as six.
fn size(text: &str) -> usize {
    let six = |byte: &u8| *byte < b' ' || b"<>&\"\\".contains(byte);
    text.len() + 5 * text.bytes().filter(six).count()
}

impl Asked {
    pub(crate) fn bytes(&self) -> usize {
        200 + size(&self.sample) + size(&self.prompt.0) + size(&self.solution.0)
    }
}

impl Answer {
    pub(crate) fn bytes(&self) -> usize {
        150 + size(&self.text.0) + self.terms.iter().map(|(name, _)| 16 + size(name)).sum::<usize>()
    }
}

impl Group {
    /// About what it takes on the page, without pictures.
    pub(crate) fn bytes(&self) -> usize {
        self.asked.bytes() + self.answers.iter().map(Answer::bytes).sum::<usize>()
    }
}
