//! Sampled sequences as they are written down.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use vr1_data::{Fields, Media, Sample};
use vr1_learn::{SequenceLogprobs, Signals};
use vr1_processor::Prompt;
use vr1_reward::Outcome;
use vr1_rollout::{Finish, Group, SampleKey, Sampled, Sequence, Version};

use super::rewards::Said;
use crate::shown::{Gallery, Shown};
use crate::{Error, Result};

/// One sampled sequence as it is written into the run's folder: all that its step was made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rollout {
    /// The step, from 1.
    pub step: u64,
    /// Which of the step's groups, from 0.
    pub group: usize,
    /// Which of the group's completions, from 0.
    pub completion_index: usize,
    /// What its randomness hangs on, beside the seed.
    pub key: SampleKey,
    /// The sample's own id.
    pub sample: String,
    /// The prompt as text.
    pub prompt: String,
    /// What was sampled, as text.
    pub completion: String,
    /// What would have been right.
    pub solution: String,
    /// What else the sample says, which rewards may read.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub fields: Fields,
    /// How many tokens were sampled.
    pub tokens: usize,
    /// Whether the model ended it.
    pub finished: bool,
    /// Total and terms of the reward.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Why there is no reward, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How good it counted.
    pub advantage: f32,
    /// The same of each token, where its tokens do not share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_advantages: Option<Vec<f32>>,
    /// Whether it is learnt from. A group that was replaced by another is not, nor what was masked.
    pub learnt: bool,
    /// What the sample shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Shown>,
    /// The prompt's ids.
    pub prompt_ids: Vec<i64>,
    /// The sampled ids, and between them those of what tools returned.
    pub ids: Vec<i64>,
    /// Where in `ids` what tools returned stands, each from and up to which place; the lists below are of the other ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observations: Vec<(usize, usize)>,
    /// Their log-probabilities under the model itself.
    #[serde(with = "numbers")]
    pub logprobs: Vec<f32>,
    /// The log-probabilities that they were drawn by.
    #[serde(with = "numbers")]
    pub drawn: Vec<f32>,
    /// The entropy of the model's distribution where each was sampled; empty where the engine does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "numbers")]
    pub entropies: Vec<f32>,
    /// The trainer's own log-probabilities of them before the step's first update, where it was learnt from: at the temperature and over what
    /// can be sampled, as a loss compares them.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "numbers")]
    pub trained: Vec<f32>,
    /// Which weights sampled it.
    pub version: Version,
    /// What all randomness of the run follows from.
    pub seed: u64,
    /// What is shown, itself.
    #[serde(skip)]
    pub(crate) shown: Vec<Media>,
}

/// What is written down of the groups of `samples`: the step and what was learnt of them follow.
pub(crate) fn rollouts(
    samples: &[&Sample],
    groups: &[Group],
    said: &[Vec<Said>],
    signals: &Signals,
    seed: u64,
) -> Result<Vec<Rollout>> {
    let media: Vec<Vec<Shown>> = samples.par_iter().map(|sample| Shown::all(&sample.media)).collect::<Result<_>>()?;
    let mut rollouts = Vec::new();
    for (number, ((sample, group), media)) in samples.iter().zip(groups).zip(media).enumerate() {
        for (i, sequence) in group.sequences().iter().enumerate() {
            let place = rollouts.len();
            let Said { outcome, error } = said[number][i].clone();
            let sampled = sequence.sampled();
            let list = |of: fn(&Sampled) -> &Vec<f32>| sampled.map(|sampled| of(sampled).clone()).unwrap_or_default();
            rollouts.push(Rollout {
                step: 0,
                group: number,
                completion_index: i,
                key: group.key(),
                sample: sample.id.clone(),
                prompt: group.prompt().text().to_owned(),
                completion: sequence.text().to_owned(),
                solution: sample.solution.clone(),
                fields: sample.fields.clone(),
                tokens: sequence.trained_tokens(),
                finished: sequence.finished(),
                outcome,
                error,
                advantage: signals.values().get(place).copied().unwrap_or_default(),
                token_advantages: signals.tokens().and_then(|lists| lists.get(place).cloned()),
                learnt: signals.parts().get(place).copied().unwrap_or_default(),
                media: media.clone(),
                prompt_ids: group.prompt().input_ids().to_vec(),
                ids: sequence.ids().to_vec(),
                observations: observations(sequence),
                logprobs: list(|sampled| &sampled.logprobs),
                drawn: list(|sampled| &sampled.drawn),
                entropies: list(|sampled| &sampled.entropies),
                trained: Vec::new(),
                version: sampled.map(|sampled| sampled.version).unwrap_or_default(),
                seed,
                shown: sample.media.clone(),
            });
        }
    }
    Ok(rollouts)
}

/// Where what was not sampled stands, a piece for each call of a tool.
pub(crate) fn observations(sequence: &Sequence) -> Vec<(usize, usize)> {
    let runs = sequence.trained().chunk_by(|a, b| a == b).scan(0, |place, run| {
        let from = std::mem::replace(place, *place + run.len());
        Some((run.first() == Some(&false)).then_some((from, from + run.len())))
    });
    runs.flatten().collect()
}

impl Rollout {
    /// The sequence again, behind its prompt.
    pub(crate) fn sequence(&self, prompt: &Arc<Prompt>) -> Result<Sequence> {
        if prompt.input_ids() != self.prompt_ids {
            let (now, then) = (prompt.input_ids(), &self.prompt_ids);
            let place = now.iter().zip(then).position(|(a, b)| a != b).unwrap_or(now.len().min(then.len()));
            let reason = format!("its prompt is another than the recorded one, from token {place} on");
            return Err(Error::Field { sample: self.sample.clone(), reason });
        }
        let finish = if self.finished { Finish::Ended } else { Finish::Length };
        let (logprobs, drawn, entropies) = (self.logprobs.clone(), self.drawn.clone(), self.entropies.clone());
        let sampled = Sampled { logprobs, drawn, entropies, version: self.version, finish };
        Ok(Sequence::completion(prompt.clone(), &self.ids, self.completion.clone(), sampled)?)
    }

    /// What the reward said of it.
    pub(crate) fn scored(&self) -> vr1_reward::Result<Outcome> {
        match &self.error {
            Some(reason) => Err(vr1_reward::Error::Row { reason: reason.clone() }),
            None => Ok(self.outcome.clone()),
        }
    }
}

/// Takes up what the trainer thought of the sequences of `groups` before it learnt from them.
pub(crate) fn trained(rollouts: &mut [Rollout], groups: &[Group], lists: Vec<SequenceLogprobs>) {
    let sequences =
        groups.iter().flat_map(|group| group.sequences().iter().map(|sequence| (group.key(), sequence.ids())));
    let mut known: HashMap<_, _> = sequences.zip(lists).collect();
    for rollout in rollouts {
        if let Some(list) = known.get_mut(&(rollout.key, rollout.ids.as_slice())) {
            rollout.trained.clone_from(list);
        }
    }
}

/// Keeps a small picture of all that is shown; what several show, once.
pub(crate) fn draw(rollouts: &mut [Rollout], gallery: Gallery<'_>) -> Result<()> {
    let all = rollouts.iter().flat_map(|rollout| rollout.media.iter().zip(&rollout.shown));
    let distinct: HashMap<&str, &Media> = all.map(|(shown, media)| (shown.blake3.as_str(), media)).collect();
    distinct.into_par_iter().try_for_each(|(hash, media)| gallery.keep(hash, media))?;
    rollouts.iter_mut().for_each(|rollout| gallery.name(&mut rollout.media, &rollout.shown));
    Ok(())
}

/// Numbers in JSON, which has no NaN and no infinities: `null` stands for them.
mod numbers {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(numbers: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
        numbers.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
        let numbers = Vec::<Option<f32>>::deserialize(deserializer)?;
        Ok(numbers.into_iter().map(|number| number.unwrap_or(f32::NAN)).collect())
    }
}
