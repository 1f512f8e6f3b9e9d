use std::fmt;
use std::path::PathBuf;

use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};
use vr1_agent::{Choose, Deduplicate};
use vr1_processor::Layout;
use vr1_remote::ServerConfig;
use vr1_reward::{Program, ProgramSource, Registry};

/// The model that makes rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TeacherConfig {
    /// One behind an OpenAI-compatible server.
    Server(ServerConfig),
    /// One in this process.
    Local {
        /// A directory, or a Hub id.
        path: PathBuf,
        /// `cpu`, `cuda` or `cuda:N`.
        #[serde(default = "cpu")]
        device: String,
        /// The kind of number that parameters are.
        #[serde(default = "f32")]
        dtype: String,
        /// How a conversation becomes a prompt.
        #[serde(default)]
        layout: Layout,
    },
}

fn cpu() -> String {
    "cpu".to_owned()
}

fn f32() -> String {
    "f32".to_owned()
}

/// How a sample is asked about: templates over its question, solution, `id` and fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskConfig {
    /// What the model is told beforehand; nothing where it is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub system: String,
    /// What the user says.
    pub text: String,
    /// The beginning of the answer, put into the model's mouth.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefill: String,
    /// Whether the sample's media are shown.
    #[serde(default)]
    pub show_media: ShowMedia,
}

/// Whether a model is shown what a sample shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShowMedia(pub bool);

impl Default for ShowMedia {
    fn default() -> Self {
        Self(true)
    }
}

/// A reward: a built-in one by its name, or a program.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RewardConfig {
    /// A built-in program's name.
    Builtin(String),
    /// A program.
    Program(Box<ProgramSource>),
}

impl RewardConfig {
    pub(crate) fn program(&self, registry: &Registry) -> vr1_reward::Result<Program> {
        match self {
            Self::Builtin(name) => Program::builtin(name, registry),
            Self::Program(source) => Program::compile(source.as_ref().clone(), registry),
        }
    }
}

impl<'de> Deserialize<'de> for RewardConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RewardConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a built-in reward's name, or a program of terms")
            }
            fn visit_str<E>(self, name: &str) -> Result<RewardConfig, E> {
                Ok(RewardConfig::Builtin(name.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RewardConfig, A::Error> {
                let program = ProgramSource::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RewardConfig::Program(Box::new(program)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// So many, or `all`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Count {
    /// All there are.
    #[default]
    All,
    /// At most so many.
    Some(usize),
}

impl Count {
    pub(crate) fn limit(self) -> Option<usize> {
        match self {
            Self::All => None,
            Self::Some(count) => Some(count),
        }
    }
}

impl Serialize for Count {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Some(count) => serializer.serialize_u64(*count as u64),
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of at least 1, or `all`")
            }
            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Count, E> {
                match usize::try_from(count) {
                    Ok(count) if count > 0 => Ok(Count::Some(count)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Unsigned(count), &self)),
                }
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Count, E> {
                match text {
                    "all" => Ok(Count::All),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Which answers are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepConfig {
    /// What the reward must be.
    pub at_least: f32,
    /// The reward's term that must be it; the total where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<String>,
    /// How many of a question.
    pub per_question: Count,
    /// Which of them.
    pub choose: Choose,
}

impl Default for KeepConfig {
    /// Every answer whose reward is 1 or more.
    fn default() -> Self {
        Self { at_least: 1.0, term: None, per_question: Count::All, choose: Choose::First }
    }
}

/// What a piece of an answer, or a field, must say or must not: one of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterConfig {
    /// Which; the whole answer where it is not said.
    #[serde(default = "completion")]
    pub of: String,
    /// A pattern that must be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// A pattern that must not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
}

fn completion() -> String {
    "completion".to_owned()
}

/// What may not come twice, beside the same pictures: `question`, `answer`, or a template's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeduplicateConfig {
    /// The question.
    Question,
    /// The question with the answer.
    Answer,
    /// A template.
    Words(String),
}

impl DeduplicateConfig {
    pub(crate) fn what(&self) -> Deduplicate {
        match self {
            Self::Question => Deduplicate::Question,
            Self::Answer => Deduplicate::Answer,
            Self::Words(_) => Deduplicate::Words,
        }
    }
}

impl TryFrom<String> for DeduplicateConfig {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "question" => Ok(Self::Question),
            "answer" => Ok(Self::Answer),
            words if words.contains("{{") => Ok(Self::Words(text)),
            other => {
                Err(format!("{other:?} is neither `question` nor `answer` nor a template such as `{{{{ problem }}}}`"))
            }
        }
    }
}

impl From<DeduplicateConfig> for String {
    fn from(config: DeduplicateConfig) -> Self {
        match config {
            DeduplicateConfig::Question => "question".to_owned(),
            DeduplicateConfig::Answer => "answer".to_owned(),
            DeduplicateConfig::Words(words) => words,
        }
    }
}

/// How a model grades the answers to a question that are left, all in one call: it is to end with a list of numbers, one for
/// each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreConfig {
    /// What it is told, a template in which `{{ paths }}` stands.
    pub text: String,
    /// The lowest grade.
    #[serde(default = "one")]
    pub from: f64,
    /// The highest.
    #[serde(default = "hundred")]
    pub to: f64,
    /// How often it is asked.
    #[serde(default = "three")]
    pub tries: usize,
}

fn one() -> f64 {
    1.0
}

fn hundred() -> f64 {
    100.0
}

fn three() -> usize {
    3
}
