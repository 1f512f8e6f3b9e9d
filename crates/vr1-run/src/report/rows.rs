//! A line of a file of rollouts or answers, and what a page shows of it: what was asked, and what was answered.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    report::{
        points::short,
        settings::Judge,
        texts::{Text, size},
    },
    rollouts::read_rows,
    run_error::RunError,
};

/// A line of a file of rollouts or answers. Those of an objective of the user's own may lack anything.
#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) group: Option<u64>,
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
    learnt: Option<bool>,
    right: Option<bool>,
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
    pub(crate) index: usize,
    pub(crate) text: Text,
    tokens: Option<u64>,
    finished: Option<bool>,
    pub(crate) total: Option<f64>,
    terms: Vec<(String, Option<f64>)>,
    advantage: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// False of a group that was replaced by another, and of what was masked.
    learnt: Option<bool>,
    /// By the recipe's own metric; none where that was not said.
    pub(crate) right: Option<bool>,
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
            learnt: self.learnt,
            right: self.right.or_else(|| judge.right(&self.terms)),
        }
    }

    pub(crate) fn is_of(&self, other: &Self) -> bool {
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
