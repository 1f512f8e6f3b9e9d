use std::error::Error;
use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};
use vr1_data::{Fields, Sample};
use vr1_processor::Message;
use vr1_reward::Program;
use vr1_rollout::Sampling;

use super::chain::StepWords;

/// What is asked about a sample.
#[derive(Debug, Clone)]
pub struct Prompted {
    /// The conversation so far; its last turn is the user's.
    pub messages: Vec<Message>,
    /// The beginning of the answer, put into the model's mouth.
    pub prefill: String,
}

/// The words that questions and rows are made of. What was read from an answer is among the sample's fields by then: its pieces
/// by their names, `completion`, `attempt`, and where there are such, `reward` and `score`.
pub trait Wording {
    /// How a sample is asked about.
    ///
    /// # Errors
    /// If a field is missing.
    fn ask(&self, sample: &Sample) -> Result<Prompted, Box<dyn Error + Send + Sync>>;

    /// What of an answer is judged; nothing: all of it.
    ///
    /// # Errors
    /// If a field is missing.
    fn judged(&self, sample: &Sample) -> Result<Option<String>, Box<dyn Error + Send + Sync>>;

    /// How paths are graded: the user's turns of a conversation, in which `paths` stands.
    ///
    /// # Errors
    /// If a field is missing.
    fn grade(&self, sample: &Sample, paths: &str) -> Result<Vec<Message>, Box<dyn Error + Send + Sync>>;

    /// What must be another in each row, beside the pictures, where it is neither the question nor the answer.
    ///
    /// # Errors
    /// If a field is missing.
    fn same(&self, sample: &Sample) -> Result<String, Box<dyn Error + Send + Sync>>;
}

/// How rows are made.
pub struct Making<'a> {
    /// The words.
    pub wording: &'a dyn Wording,
    /// How tokens are picked; all seeds follow from its own.
    pub sampling: Sampling,
    /// Answers to each question.
    pub completions: usize,
    /// Answers step by step, each step a call.
    pub steps: Option<StepWords>,
    /// Pieces of an answer: a name, and a pattern whose first group is the piece, or else the whole of it.
    pub read: Vec<(String, Regex)>,
    /// Who judges answers.
    pub judging: Option<Judging<'a>>,
    /// What answers must say, and must not.
    pub filters: Vec<Filtering>,
    /// How answers are graded, all of a question together.
    pub scoring: Option<Scoring>,
    /// Which are kept.
    pub keep: Keep,
    /// What may not come twice.
    pub deduplicate: Option<Deduplicate>,
}

impl fmt::Debug for Making<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { completions, sampling, keep, .. } = self;
        f.debug_struct("Making")
            .field("completions", completions)
            .field("sampling", sampling)
            .field("keep", keep)
            .finish_non_exhaustive()
    }
}

/// A reward that answers must reach.
#[derive(Debug, Clone, Copy)]
pub struct Judging<'a> {
    /// The reward.
    pub program: &'a Program,
    /// The term that counts; the total where there is none.
    pub term: Option<&'a str>,
    /// What it must be.
    pub at_least: f32,
}

/// What a piece of an answer must say, or must not.
#[derive(Debug, Clone)]
pub struct Filtering {
    /// The piece or field.
    pub of: String,
    /// What is looked for.
    pub pattern: Regex,
    /// Whether it must be found.
    pub wanted: Wanted,
}

/// Whether something must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It must.
    Found,
    /// It must not.
    Absent,
}

/// Grades that a model gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scoring {
    /// The lowest.
    pub from: f64,
    /// The highest.
    pub to: f64,
    /// How often it is asked where it does not give one for each.
    pub tries: usize,
}

/// Which answers are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// How many of a question; nothing: all.
    pub per_question: Option<usize>,
    /// Which come first.
    pub choose: Choose,
}

/// Which answers come before others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choose {
    /// Those given first.
    #[default]
    First,
    /// Those of the highest grade, and where there is none, of the highest reward; of equals the first.
    Best,
    /// Those of the fewest letters; of equals the first.
    Shortest,
}

/// What may not come twice; samples that show other pictures are never the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deduplicate {
    /// The question: the first row of it stays.
    Question,
    /// The question with the answer.
    Answer,
    /// What [`Wording::same`] says.
    Words,
}

/// What becomes a row.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The sample, with what was read from the answer among its fields.
    pub sample: Sample,
    /// Which answer of its question, from 0.
    pub attempt: usize,
}

/// An answer on its way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidate {
    pub(crate) attempt: usize,
    /// What was put into the model's mouth, and what it said.
    pub(crate) completion: String,
    pub(crate) pieces: Fields,
    pub(crate) tokens: usize,
    pub(crate) reward: Option<f32>,
    pub(crate) score: Option<f64>,
}

impl Candidate {
    /// The sample with what was read from this answer.
    pub(crate) fn sample(&self, sample: &Sample) -> Sample {
        let mut sample = sample.clone();
        sample.fields.extend(self.pieces.clone());
        sample.fields.insert("completion".to_owned(), self.completion.as_str().into());
        sample.fields.insert("attempt".to_owned(), self.attempt.into());
        if let Some(reward) = self.reward {
            sample.fields.insert("reward".to_owned(), f64::from(reward).into());
        }
        if let Some(score) = self.score {
            sample.fields.insert("score".to_owned(), score.into());
        }
        sample
    }
}
