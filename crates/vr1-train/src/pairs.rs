use std::sync::Arc;

use vr1_data::{Dataset, PreferenceSet, Said, Sample};
use vr1_processor::{Layout, Message, Processor, PromptRequest, Role};
use vr1_rollout::{Group, SampleKey, Sequence};

use crate::recipe::{PairSource, PromptConfig};
use crate::{Error, Result, Template};

/// Preference pairs that somebody wrote.
pub(crate) enum Pairs {
    Rows(Arc<PreferenceSet>),
    Written { samples: Arc<dyn Dataset>, prompt: PromptConfig, words: Box<[Template; 3]> },
}

impl Pairs {
    /// The pairs of a source; none where the model itself writes them.
    pub(crate) fn open(source: &PairSource, prompt: &PromptConfig, seed: u64) -> Result<Option<Self>> {
        Ok(match source {
            PairSource::Rows(rows) => Some(Self::Rows(Arc::new(PreferenceSet::of(rows)?))),
            PairSource::Written { source, chosen, rejected } => {
                let words = [Template::new(&prompt.text)?, Template::new(chosen)?, Template::new(rejected)?];
                Some(Self::Written { samples: source.open(seed)?, prompt: prompt.clone(), words: Box::new(words) })
            }
            PairSource::Sampled { .. } => None,
        })
    }

    /// The pairs as a set of samples that can be drawn from.
    pub(crate) fn numbered(&self) -> Arc<dyn Dataset> {
        match self {
            Self::Rows(rows) => Arc::new(Numbered { name: rows.name().to_owned(), len: rows.len() }),
            Self::Written { samples, .. } => samples.clone(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len(),
            Self::Written { samples, .. } => samples.len(),
        }
    }

    /// A pair as a group of two, the chosen first.
    pub(crate) fn group(&self, key: SampleKey, processor: &Processor) -> Result<Group> {
        let index = key.index as usize;
        match self {
            Self::Rows(rows) => {
                let pair = rows.get(index)?;
                let messages = |said: &[Said]| messages(said, &pair.sample);
                let before = messages(&pair.prompt);
                let request =
                    PromptRequest { sample: &pair.sample.id, messages: &before, layout: Layout::Chat, prefill: "" };
                answered(key, processor, &request, &[messages(&pair.chosen), messages(&pair.rejected)])
            }
            Self::Written { samples, prompt, words } => {
                let sample = samples.get(index)?;
                let [text, chosen, rejected] = &**words;
                let before = [Message::said(&text.ask(&sample)?, &sample)];
                let request = PromptRequest {
                    sample: &sample.id,
                    messages: &before,
                    layout: prompt.layout,
                    prefill: &prompt.prefill,
                };
                let answer = |words: String| vec![Message::text(Role::Assistant, words)];
                let answers = [answer(chosen.render(&sample)?), answer(rejected.render(&sample)?)];
                if answers[0][0].words() == answers[1][0].words() {
                    let reason = "its chosen and its rejected answer are the same words".to_owned();
                    return Err(Error::Field { sample: sample.id.clone(), reason });
                }
                answered(key, processor, &request, &answers)
            }
        }
    }
}

/// A group of one prompt, read once, and its answers.
pub(crate) fn answered(
    key: SampleKey,
    processor: &Processor,
    request: &PromptRequest<'_>,
    answers: &[Vec<Message>],
) -> Result<Group> {
    let prompt = Arc::new(processor.prompt(request)?);
    let sequence = |answer: &Vec<Message>| -> Result<Sequence> {
        let (tail, learnt) = processor.answers(request, &prompt, answer)?;
        let text = answer.iter().map(Message::words).collect::<Vec<_>>().join("\n");
        Ok(Sequence::new(prompt.clone(), tail, learnt, text)?)
    };
    Ok(Group::new(key, answers.iter().map(sequence).collect::<Result<_>>()?)?)
}

/// What is said in a row as messages, media in their places.
pub(crate) fn messages(said: &[Said], sample: &Sample) -> Vec<Message> {
    said.iter().map(|said| Message::said(said, sample)).collect()
}

/// Rows that are drawn by their number and read elsewhere.
pub(crate) struct Numbered {
    pub(crate) name: String,
    pub(crate) len: usize,
}

impl Dataset for Numbered {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> vr1_data::Result<Sample> {
        Ok(Sample { id: format!("{}:{}", self.name, index + 1), ..Sample::default() })
    }
}
