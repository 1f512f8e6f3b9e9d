use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vr1_data::Sample;
use vr1_processor::Processor;
use vr1_rollout::{Finish, Group, SampleKey, Sampled, Sequence, Version};

use super::prompting::Prompting;
use crate::{Error, Result};

/// The pairs of a round, sampled at its start and learnt from step by step.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pairs: Vec<Pooled>,
    /// The same as JSON, which every step's state has: made once a round.
    state: String,
}

/// A pair as it is kept: its prompt, pictures and all, is made again when it is learnt from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pooled {
    key: SampleKey,
    /// The chosen and the rejected completion.
    answers: [Answer; 2],
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    ids: Vec<i64>,
    text: String,
    logprobs: Vec<f32>,
    drawn: Vec<f32>,
    version: Version,
    finish: Finish,
}

impl Pool {
    pub(crate) fn new(pairs: Vec<Pooled>) -> Result<Self> {
        let broken = |error| Error::Recipe(format!("the pairs of a round cannot be kept: {error}"));
        let state = serde_json::to_string(&pairs).map_err(broken)?;
        Ok(Self { pairs, state })
    }

    pub(crate) fn state(&self) -> &str {
        &self.state
    }

    pub(crate) fn restored(state: String) -> Result<Self> {
        if state.is_empty() {
            return Ok(Self::default());
        }
        let broken = |error| Error::Recipe(format!("the pairs of a round cannot be read: {error}"));
        Ok(Self { pairs: serde_json::from_str(&state).map_err(broken)?, state })
    }

    /// What is learnt from in the step at `place` of the round's `steps`.
    pub(crate) fn share(&self, place: u64, steps: u64) -> &[Pooled] {
        let until = |place: u64| self.pairs.len() * place as usize / steps.max(1) as usize;
        &self.pairs[until(place)..until(place + 1)]
    }
}

impl Pooled {
    /// A group of two as it is kept.
    pub(crate) fn of(pair: &Group) -> Self {
        let answer = |i: usize| {
            let sequence = &pair.sequences()[i];
            let sampled = sequence.sampled();
            Answer {
                ids: sequence.ids().to_vec(),
                text: sequence.text().to_owned(),
                logprobs: sampled.map(|sampled| sampled.logprobs.clone()).unwrap_or_default(),
                drawn: sampled.map(|sampled| sampled.drawn.clone()).unwrap_or_default(),
                version: sampled.map(|sampled| sampled.version).unwrap_or_default(),
                finish: if sequence.finished() { Finish::Ended } else { Finish::Length },
            }
        };
        Self { key: pair.key(), answers: [answer(0), answer(1)] }
    }

    /// What its sample was drawn as.
    pub(crate) fn key(&self) -> SampleKey {
        self.key
    }

    /// The pair as a group again.
    pub(crate) fn group(&self, sample: &Sample, prompting: &Prompting, processor: &Processor) -> Result<Group> {
        let prompt = prompting.prompts(&[sample], processor, usize::MAX)?.into_iter().next();
        let prompt = Arc::new(prompt.ok_or_else(|| Error::Recipe(format!("sample `{}` has no prompt", sample.id)))?);
        let sequence = |answer: &Answer| {
            let Answer { ids, text, logprobs, drawn, version, finish } = answer.clone();
            let sampled = Sampled { logprobs, drawn, entropies: Vec::new(), version, finish };
            Sequence::completion(prompt.clone(), &ids, text, sampled)
        };
        let sequences = self.answers.iter().map(sequence).collect::<vr1_rollout::Result<_>>()?;
        Ok(Group::new(self.key, sequences)?)
    }
}
