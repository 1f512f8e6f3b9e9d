//! Whether answers come of what is shown: the same prompts with the picture blanked, and with another's.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vr1_data::Sample;
use vr1_learn::logprobs;
use vr1_processor::{Patches, Prompt};
use vr1_reward::Program;
use vr1_rollout::{Group, Request, Sampling, Sequence};

use super::rewards::score;
use crate::{Result, Run};

/// How often it is looked whether answers come of what is shown, and at how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroundingConfig {
    /// Steps from one look to the next; 0 never looks.
    pub every_steps: u64,
    /// Prompts of the step that are looked at.
    pub prompts: usize,
}

impl Default for GroundingConfig {
    fn default() -> Self {
        Self { every_steps: 0, prompts: 4 }
    }
}

/// A group with its sample and the rewards of its completions; NaN where one has none.
pub(crate) struct Seen<'a> {
    pub(crate) sample: &'a Sample,
    pub(crate) group: &'a Group,
    pub(crate) rewards: Vec<f32>,
}

/// What is shown instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instead {
    /// The colour that pictures have in the mean, everywhere.
    Blank,
    /// What another prompt shows that is as large.
    Swapped,
}

/// How much likelier completions are with what they were sampled to, a token, and how much better those are that are sampled so.
pub(crate) fn measure(
    run: &mut Run,
    seen: &[Seen<'_>],
    sampling: &Sampling,
    reward: &Arc<Program>,
) -> Result<BTreeMap<String, f64>> {
    let mut metrics = BTreeMap::new();
    for (instead, name) in [(Instead::Blank, "blank"), (Instead::Swapped, "swapped")] {
        let mut shown: Vec<(&Seen<'_>, Arc<Prompt>)> = Vec::new();
        for (place, one) in seen.iter().enumerate() {
            if let Some(patches) = others(seen, place, instead) {
                shown.push((one, Arc::new(one.group.prompt().showing(patches)?)));
            }
        }
        if shown.is_empty() {
            continue;
        }
        let temperature = if sampling.temperature > 0.0 { sampling.temperature } else { 1.0 };
        let (mut own, mut other) = (Vec::new(), Vec::new());
        for (one, prompt) in &shown {
            let behind = |sequence: &Sequence| -> Result<Sequence> {
                let trained = sequence.trained().to_vec();
                Ok(Sequence::new(prompt.clone(), sequence.tail().clone(), trained, String::new())?)
            };
            let sequences = one.group.sequences().iter().map(behind).collect::<Result<_>>()?;
            own.push(one.group.clone());
            other.push(Group::new(one.group.key(), sequences)?);
        }
        let learner = &run.learner;
        let mean = |groups: &[Group]| -> Result<f64> {
            let lists = learner.together(|| logprobs(learner.model().as_ref(), groups, temperature))?;
            let tokens: usize = lists.iter().map(Vec::len).sum();
            Ok(lists.iter().flatten().map(|&logprob| f64::from(logprob)).sum::<f64>() / tokens.max(1) as f64)
        };
        metrics.insert(format!("grounding/logprob_{name}"), mean(&own)? - mean(&other)?);
        let request = |(one, prompt): &(&Seen<'_>, Arc<Prompt>)| {
            Request::new(prompt.clone(), one.group.size(), sampling.clone(), one.group.key())
        };
        let groups = run.engine()?.generate(shown.iter().map(request).collect())?;
        // What is asked of a judge is asked once.
        if !run.world().is_first() {
            continue;
        }
        let answered = shown.iter().zip(&groups).map(|((one, _), group)| {
            let outcomes = score(reward, one.sample, group).into_iter();
            outcomes.map(|outcome| outcome.ok().and_then(|outcome| outcome.total).unwrap_or(f32::NAN)).collect()
        });
        let now = mean_reward(&answered.collect::<Vec<Vec<f32>>>());
        let before = mean_reward(&shown.iter().map(|(one, _)| one.rewards.clone()).collect::<Vec<_>>());
        if let (Some(before), Some(now)) = (before, now) {
            metrics.insert(format!("grounding/reward_{name}"), before - now);
        }
    }
    Ok(metrics)
}

/// What is shown to a group instead, where there is something: media of the same size.
fn others(seen: &[Seen<'_>], place: usize, instead: Instead) -> Option<Vec<Arc<Patches>>> {
    let own = seen[place].group.prompt().patches();
    if own.is_empty() {
        return None;
    }
    if instead == Instead::Blank {
        return Some(own.iter().map(|patches| Arc::new(patches.blank())).collect());
    }
    let fits = |other: &&Seen<'_>| {
        let theirs = other.group.prompt().patches();
        theirs != own && theirs.len() == own.len() && own.iter().zip(theirs).all(|(a, b)| a.is_cut_as(b))
    };
    // The next one round the step, so that not all see the same.
    let round = seen[place + 1..].iter().chain(&seen[..place]);
    round.into_iter().find(fits).map(|other| other.group.prompt().patches().to_vec())
}

fn mean_reward(rewards: &[Vec<f32>]) -> Option<f64> {
    let known: Vec<f64> = rewards.iter().flatten().filter(|reward| reward.is_finite()).map(|&r| f64::from(r)).collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}
