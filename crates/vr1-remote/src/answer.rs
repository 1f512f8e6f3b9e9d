use std::fmt;

use serde_json::Value;

/// What a model answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatAnswer {
    /// The answers, as many as the server gave: some give one, however many are asked for.
    pub choices: Vec<Choice>,
    /// What it took, where the server says so.
    pub usage: Option<Usage>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The model's words; of one that was told to go on with a beginning, what follows it.
    pub text: String,
    /// Why it ended.
    pub finish: Finished,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// The model ended it, or a text did that was to end it.
    Stop,
    /// It is as long as it may be.
    Length,
    /// For another reason, in the server's word; empty where it says none.
    Other(String),
}

/// Tokens that an answer took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: u64,
    /// Of all the answers together.
    pub completion_tokens: u64,
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Other(reason) => reason,
        })
    }
}

impl ChatAnswer {
    /// What a server's JSON says; nothing where a choice lacks words, or there is none.
    pub(crate) fn read(said: &Value) -> Option<Self> {
        let choice = |choice: &Value| {
            let text = choice["message"]["content"].as_str()?.to_owned();
            let finish = match choice["finish_reason"].as_str().unwrap_or_default() {
                "stop" => Finished::Stop,
                "length" => Finished::Length,
                other => Finished::Other(other.to_owned()),
            };
            Some(Choice { text, finish })
        };
        let choices: Vec<Choice> = said["choices"].as_array()?.iter().map(choice).collect::<Option<_>>()?;
        let count = |key: &str| said["usage"][key].as_u64().unwrap_or_default();
        let usage = said["usage"]
            .is_object()
            .then(|| Usage { prompt_tokens: count("prompt_tokens"), completion_tokens: count("completion_tokens") });
        (!choices.is_empty()).then_some(Self { choices, usage })
    }
}
