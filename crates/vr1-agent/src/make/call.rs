use serde::{Deserialize, Serialize};
use vr1_processor::{Message, Part};
use vr1_rollout::{Sampling, Ticket};

use crate::Result;

/// What a model is asked.
#[derive(Debug, Clone)]
pub struct Call {
    /// The sample that it is about, for errors.
    pub sample: String,
    /// The place of the sample among those that are asked about.
    pub question: u64,
    /// Which of the calls about it.
    pub name: String,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// The beginning of the answer, put into the model's mouth.
    pub prefill: String,
    /// How many answers.
    pub count: usize,
    /// How tokens are picked; the seed is this call's own.
    pub sampling: Sampling,
}

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The model's words; where a beginning was put into its mouth, what follows that.
    pub text: String,
    /// Whether it was cut off, by its length or by whoever serves the model.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// How long it is, as far as that is known.
    #[serde(default)]
    pub tokens: usize,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// This call cannot be answered, as where a prompt is too long; others may well be.
    Call(String),
    /// The model cannot be asked.
    Model(String),
}

impl Failure {
    /// Why.
    #[must_use]
    pub fn reason(self) -> String {
        match self {
            Self::Call(reason) | Self::Model(reason) => reason,
        }
    }
}

/// What became of a call: answers, at least one and at most as many as were asked for.
pub type Replied = (Ticket, Result<Vec<Reply>, Failure>);

/// A model that rows are made with. Calls go in by [`submit`](Self::submit) and come out of [`poll`](Self::poll) in any order.
pub trait Teacher {
    /// The model, as rows say whom they are from.
    fn name(&self) -> &str;

    /// About how many questions it is worth having under way.
    fn at_once(&self) -> usize;

    /// Takes a call.
    ///
    /// # Errors
    /// If it cannot be asked anything.
    fn submit(&mut self, call: Call) -> Result<Ticket>;

    /// Waits until a call is done and gives all that are; nothing only where none is under way.
    ///
    /// # Errors
    /// If it cannot be asked anything any more.
    fn poll(&mut self) -> Result<Vec<Replied>>;
}

impl Call {
    /// What is asked, in 16 letters: of the same that is shown and said, the same.
    ///
    /// # Errors
    /// If a picture cannot be read.
    pub(crate) fn fingerprint(&self) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        };
        for message in &self.messages {
            add(message.role.as_str().as_bytes());
            for part in &message.parts {
                match part {
                    Part::Text(text) => add(text.as_bytes()),
                    Part::Image(picture) => add(picture.hash()?.as_bytes()),
                    Part::Video(video) => add(vr1_data::Media::Video(video.clone()).hash()?.as_bytes()),
                    // Nobody calls one here.
                    _ => add(b"tool"),
                }
            }
        }
        add(self.prefill.as_bytes());
        add(self.count.to_string().as_bytes());
        Ok(hasher.finalize().to_hex()[..16].to_owned())
    }
}

/// The seed of a call, of 31 bits, which every server takes.
pub(crate) fn seed(seed: u64, question: u64, name: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(&question.to_le_bytes()).update(name.as_bytes());
    let mut first = [0; 4];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..4]);
    u64::from(u32::from_le_bytes(first) >> 1)
}
