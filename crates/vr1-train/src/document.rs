use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vr1_data::{Dataset, Said, Sample};
use vr1_processor::{Layout, Mask, Message, Processor, PromptRequest, Role, Supervised};

use crate::{Error, Result, Source, Template};

/// A kind of text to imitate: samples, and how each becomes a prompt and the words that should follow it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentConfig {
    /// The stage of the curriculum that it belongs to, from 0.
    #[serde(default)]
    pub stage: usize,
    /// How often it is drawn, relative to the others of its stage.
    #[serde(default = "one")]
    pub weight: f64,
    /// Where its samples come from.
    pub source: Source,
    /// By the chat template, or as it is.
    #[serde(default)]
    pub layout: Layout,
    /// One question: a template of the user's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A template of the words to learn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Instead of one question, these of the sample's own turns, in one conversation about its media (chat layout).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<String>,
}

fn one() -> f64 {
    1.0
}

/// A [`DocumentConfig`] with its samples open and its templates parsed.
pub(crate) struct Document {
    pub(crate) stage: usize,
    pub(crate) weight: f64,
    pub(crate) samples: Arc<dyn Dataset>,
    layout: Layout,
    form: Form,
}

enum Form {
    Answer { text: Box<Template>, target: Box<Template> },
    Turns(Vec<String>),
}

impl Document {
    pub(crate) fn open(config: &DocumentConfig, seed: u64) -> Result<Self> {
        let form = match (&config.text, &config.target, config.turns.as_slice()) {
            (Some(text), Some(target), []) => {
                Form::Answer { text: Box::new(Template::new(text)?), target: Box::new(Template::new(target)?) }
            }
            (None, None, turns @ [_, ..]) => Form::Turns(turns.to_vec()),
            _ => {
                let value = "mixed".to_owned();
                return Err(Error::Setting {
                    field: "documents",
                    value,
                    allowed: "`text` and `target`, or `turns` alone",
                });
            }
        };
        let samples = config.source.open(seed)?;
        Ok(Self { stage: config.stage, weight: config.weight, samples, layout: config.layout, form })
    }

    /// The prompt and the words, readable: what a tokenizer is trained on.
    pub(crate) fn words(&self, sample: &Sample) -> Result<Vec<String>> {
        Ok(match &self.form {
            Form::Answer { text, target } => vec![text.render(sample)?, target.render(sample)?],
            Form::Turns(names) => {
                let words = |turn: usize| [sample.turns[turn].prompt.clone(), sample.turns[turn].answer.clone()];
                turns(sample, names)?.into_iter().flat_map(words).collect()
            }
        })
    }

    /// A sample with its labels.
    pub(crate) fn supervised(&self, sample: &Sample, processor: &Processor) -> Result<Supervised> {
        match &self.form {
            Form::Answer { text, target } => {
                let (asked, target) = (text.ask(sample)?, target.render(sample)?);
                let mut messages = vec![Message::said(&asked, sample)];
                if self.layout == Layout::Raw {
                    let request =
                        PromptRequest { sample: &sample.id, messages: &messages, layout: self.layout, prefill: "" };
                    return Ok(processor.supervised_target(&request, &target, Mask::Assistant)?);
                }
                messages.push(Message::text(Role::Assistant, target));
                Ok(processor.supervised(&sample.id, &messages, Mask::Assistant)?)
            }
            Form::Turns(names) => Ok(processor.supervised(&sample.id, &staged(sample, names)?, Mask::Assistant)?),
        }
    }
}

/// The conversation of a sample's turns of these names, each with its answer.
pub(crate) fn staged(sample: &Sample, names: &[String]) -> Result<Vec<Message>> {
    let chosen = turns(sample, names)?;
    let asked = Said::turns(sample, &chosen);
    let mut messages = Vec::with_capacity(2 * chosen.len());
    for (turn, said) in chosen.into_iter().zip(&asked) {
        messages.push(Message::said(said, sample));
        messages.push(Message::text(Role::Assistant, &sample.turns[turn].answer));
    }
    Ok(messages)
}

/// The sample's turns of these names, by number.
fn turns(sample: &Sample, names: &[String]) -> Result<Vec<usize>> {
    let find = |name: &String| {
        sample.turns.iter().position(|turn| turn.name == *name).ok_or_else(|| {
            let known: Vec<&str> = sample.turns.iter().map(|turn| turn.name.as_str()).collect();
            let reason = format!("it has no turn {name:?}; its turns are {known:?}");
            Error::Field { sample: sample.id.clone(), reason }
        })
    };
    names.iter().map(find).collect()
}
