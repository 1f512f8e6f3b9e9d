use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vr1_data::{Picture, Speaker, Video};
use vr1_processor::{Message, Part, Role};

use crate::{Error, Result};

/// A piece of what is said.
#[derive(Debug, Clone)]
pub enum ChatPart {
    /// Words.
    Text(String),
    /// A picture, shown where it stands.
    Picture(Picture),
}

/// One turn of a conversation.
#[derive(Debug, Clone)]
pub struct ChatMessage {
    /// Who says it.
    pub speaker: Speaker,
    /// Words and pictures in the order they come.
    pub parts: Vec<ChatPart>,
}

impl ChatMessage {
    /// What the model is told beforehand.
    #[must_use]
    pub fn system(text: impl Into<String>) -> Self {
        Self { speaker: Speaker::System, parts: vec![ChatPart::Text(text.into())] }
    }

    /// What the user says and shows.
    #[must_use]
    pub fn user(parts: Vec<ChatPart>) -> Self {
        Self { speaker: Speaker::User, parts }
    }

    /// What the model is said to have said.
    #[must_use]
    pub fn assistant(text: impl Into<String>) -> Self {
        Self { speaker: Speaker::Assistant, parts: vec![ChatPart::Text(text.into())] }
    }

    /// A turn of a conversation as servers take it. Of a video its frames are shown.
    ///
    /// # Errors
    /// If the turn shows a video file, calls a tool or is a tool's.
    pub fn of(message: &Message) -> Result<Self> {
        let cannot = |what| Err(Error::Unshowable { what });
        let speaker = match message.role {
            Role::System => Speaker::System,
            Role::User => Speaker::User,
            Role::Assistant => Speaker::Assistant,
            _ => return cannot("a tool's turn"),
        };
        let mut parts = vec![];
        for part in &message.parts {
            match part {
                Part::Text(text) => parts.push(ChatPart::Text(text.clone())),
                Part::Image(picture) => parts.push(ChatPart::Picture(picture.clone())),
                Part::Video(Video::Frames { frames, .. }) => {
                    parts.extend(frames.iter().cloned().map(ChatPart::Picture));
                }
                Part::Video(_) => return cannot("a video file"),
                _ => return cannot("a call of a tool"),
            }
        }
        Ok(Self { speaker, parts })
    }

    /// Words alone are a text, as every server takes them; with pictures it is a list.
    pub(crate) fn value(&self) -> Result<Value> {
        let pictured = self.parts.iter().any(|part| matches!(part, ChatPart::Picture(_)));
        let words = |part: &ChatPart| match part {
            ChatPart::Text(text) => text.clone(),
            ChatPart::Picture(_) => String::new(),
        };
        let part = |part: &ChatPart| -> Result<Value> {
            Ok(match part {
                ChatPart::Text(text) => json!({"type": "text", "text": text}),
                ChatPart::Picture(picture) => {
                    json!({"type": "image_url", "image_url": {"url": picture.file()?.data_uri()}})
                }
            })
        };
        let content = match pictured {
            true => Value::Array(self.parts.iter().map(part).collect::<Result<_>>()?),
            false => Value::String(self.parts.iter().map(words).collect()),
        };
        Ok(json!({"role": self.speaker.name(), "content": content}))
    }
}

/// How a server is told to go on with the beginning of an answer, which is the conversation's last message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefill {
    /// By `continue_final_message` and no `add_generation_prompt`, as vLLM and SGLang want it.
    #[default]
    Continue,
    /// By nothing but the message itself, as Ollama does.
    Message,
    /// By `"prefix": true` in the message, as DeepSeek and Mistral want it.
    Prefix,
}

/// What an answer is to keep to.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// Any JSON object.
    Json,
    /// JSON of this schema.
    Schema(Value),
}

/// What a model is asked. What is not said is left to the server.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// The conversation so far.
    pub messages: Vec<ChatMessage>,
    /// The beginning of the answer, and how the server is told of it.
    pub prefill: Option<(String, Prefill)>,
    /// How many answers.
    pub n: usize,
    /// Divides the logits; 0 picks the most likely token.
    pub temperature: Option<f64>,
    /// Only the fewest most likely tokens whose probabilities reach this sum can be picked.
    pub top_p: Option<f64>,
    /// Only this many most likely tokens can be picked; not every server knows it.
    pub top_k: Option<i64>,
    /// Only tokens at least this likely, relative to the most likely one; not every server knows it.
    pub min_p: Option<f64>,
    /// Makes tokens that were there already less likely; not every server knows it.
    pub repetition_penalty: Option<f64>,
    /// The longest answer, in tokens.
    pub max_tokens: Option<usize>,
    /// Of the random numbers.
    pub seed: Option<u64>,
    /// Texts that end an answer.
    pub stop: Vec<String>,
    /// What the answer is to keep to.
    pub format: Option<Format>,
}

impl ChatRequest {
    /// One answer to a conversation.
    #[must_use]
    pub fn new(messages: Vec<ChatMessage>) -> Self {
        Self {
            messages,
            prefill: None,
            n: 1,
            temperature: None,
            top_p: None,
            top_k: None,
            min_p: None,
            repetition_penalty: None,
            max_tokens: None,
            seed: None,
            stop: Vec::new(),
            format: None,
        }
    }

    /// The same with a beginning of the answer; an empty one is none.
    #[must_use]
    pub fn with_prefill(self, text: &str, how: Prefill) -> Self {
        Self { prefill: (!text.is_empty()).then(|| (text.to_owned(), how)), ..self }
    }

    /// The body that asks `model`.
    pub(crate) fn body(&self, model: &str) -> Result<Value> {
        let mut messages: Vec<Value> = self.messages.iter().map(ChatMessage::value).collect::<Result<_>>()?;
        let mut body = json!({"model": model});
        if let Some((text, how)) = &self.prefill {
            let mut begun = ChatMessage::assistant(text).value()?;
            match how {
                Prefill::Continue => {
                    body["continue_final_message"] = true.into();
                    body["add_generation_prompt"] = false.into();
                }
                Prefill::Message => {}
                Prefill::Prefix => begun["prefix"] = true.into(),
            }
            messages.push(begun);
        }
        body["messages"] = messages.into();
        let mut say = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body[key] = value;
            }
        };
        say("n", (self.n != 1).then(|| self.n.into()));
        say("temperature", self.temperature.map(Value::from));
        say("top_p", self.top_p.map(Value::from));
        say("top_k", self.top_k.map(Value::from));
        say("min_p", self.min_p.map(Value::from));
        say("repetition_penalty", self.repetition_penalty.map(Value::from));
        say("max_tokens", self.max_tokens.map(Value::from));
        say("seed", self.seed.map(Value::from));
        say("stop", (!self.stop.is_empty()).then(|| self.stop.clone().into()));
        say("response_format", self.format.as_ref().map(Format::value));
        Ok(body)
    }
}

impl Format {
    fn value(&self) -> Value {
        match self {
            Self::Json => json!({"type": "json_object"}),
            Self::Schema(schema) => {
                json!({"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": schema}})
            }
        }
    }
}
