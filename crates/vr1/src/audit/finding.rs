use serde::Serialize;

/// What may be wrong with data, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A row that cannot be read, or is of no layout.
    Row,
    /// A file that is not there.
    Missing,
    /// More or fewer places for media than media, or the literal placeholder of a model.
    Placeholders,
    /// A picture or a video that cannot be decoded.
    Broken,
    /// A picture whose sides no model takes.
    Shape,
    /// A row that a template or the processor refuses.
    Prompt,
    /// More tokens than there may be.
    Overlong,
    /// An answer that is empty, or that no verifier can read.
    Answer,
    /// The same question, answered otherwise.
    Contradiction,
    /// A held-out question that is learnt from.
    Leak,
    /// The same row again.
    Duplicate,
    /// Nearly the same row.
    NearDuplicate,
    /// A picture that looks like another.
    LookAlike,
    /// A held-out picture that is learnt from, with another question.
    SharedPicture,
    /// An answer of another kind than those of nearly all rows.
    OddAnswer,
    /// Words that are some model's placeholder.
    LiteralToken,
}

/// Whether a finding makes the data unfit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// A run would stop, learn something wrong or measure something wrong.
    Fault,
    /// To be known.
    Note,
}

impl Kind {
    pub(crate) fn severity(self) -> Severity {
        use Kind::{Duplicate, LiteralToken, LookAlike, NearDuplicate, OddAnswer, SharedPicture};
        match self {
            Duplicate | NearDuplicate | LookAlike | SharedPicture | OddAnswer | LiteralToken => Severity::Note,
            _ => Severity::Fault,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Missing => "missing",
            Self::Placeholders => "placeholders",
            Self::Broken => "broken",
            Self::Shape => "shape",
            Self::Prompt => "prompt",
            Self::Overlong => "overlong",
            Self::Answer => "answer",
            Self::Contradiction => "contradiction",
            Self::Leak => "leak",
            Self::Duplicate => "duplicate",
            Self::NearDuplicate => "near_duplicate",
            Self::LookAlike => "look_alike",
            Self::SharedPicture => "shared_picture",
            Self::OddAnswer => "odd_answer",
            Self::LiteralToken => "literal_token",
        }
    }
}

/// One thing that was found, where, and why it is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    pub(crate) severity: Severity,
    /// File and row.
    pub(crate) place: String,
    pub(crate) reason: String,
}

impl Finding {
    pub(crate) fn new(kind: Kind, place: &str, reason: impl Into<String>) -> Self {
        Self { kind, severity: kind.severity(), place: place.to_owned(), reason: reason.into() }
    }
}
