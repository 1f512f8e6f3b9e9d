use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vr1_data::Sample;
use vr1_reward::{Outcome, Program, Rollout};

use crate::{Error, Result};

/// What a model answered to a sample.
#[derive(Debug, Clone)]
pub struct Answer<'a> {
    /// The sample.
    pub sample: &'a Sample,
    /// The prompt as text.
    pub prompt: String,
    /// The completion as text.
    pub completion: String,
    /// Its length in tokens.
    pub tokens: usize,
    /// Whether it ended by itself.
    pub finished: bool,
}

/// Averages over a set of answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The share of right answers.
    pub accuracy: f64,
    /// The mean of each term of the reward, over the answers that have it.
    pub terms: BTreeMap<String, f64>,
    /// Mean length in tokens.
    pub completion_length: f64,
    /// The share that ended by itself.
    pub finished: f64,
    /// How many answers.
    pub count: usize,
}

/// An answer with what the reward says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Total and terms.
    pub outcome: Outcome,
    /// Whether the metric is above its threshold.
    pub right: bool,
}

/// Scores `answers` with `reward`; where the term `metric` is above `threshold`, an answer is right. A missing metric is
/// not right.
///
/// # Errors
/// If the reward has no term `metric`, or cannot score an answer; the sample is named.
pub fn score(answers: &[Answer<'_>], reward: &Program, metric: &str, threshold: f64) -> Result<(Score, Vec<Scored>)> {
    if !reward.term_names().any(|name| name == metric) {
        let known = reward.term_names().collect::<Vec<_>>().join(", ");
        return Err(Error::UnknownTerm { term: metric.to_owned(), known });
    }
    let mut scored = Vec::with_capacity(answers.len());
    let mut sums: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    for answer in answers {
        let rollout = Rollout {
            prompt: &answer.prompt,
            completion: &answer.completion,
            solution: &answer.sample.solution,
            tokens: answer.tokens,
            finished: answer.finished,
            fields: &answer.sample.fields,
        };
        let outcome =
            reward.outcome(&rollout).map_err(|source| Error::Reward { sample: answer.sample.id.clone(), source })?;
        let mut right = false;
        for (name, value) in &outcome.terms {
            let Some(value) = value.map(f64::from) else { continue };
            let sum = sums.entry(name.clone()).or_default();
            *sum = (sum.0 + value, sum.1 + 1);
            right |= name == metric && value > threshold;
        }
        scored.push(Scored { outcome, right });
    }
    let count = answers.len();
    let mean = |value: &dyn Fn(usize) -> f64| (0..count).map(value).sum::<f64>() / count.max(1) as f64;
    let score = Score {
        accuracy: mean(&|i| f64::from(u8::from(scored[i].right))),
        terms: sums.into_iter().map(|(name, (sum, count))| (name, sum / count as f64)).collect(),
        completion_length: mean(&|i| answers[i].tokens as f64),
        finished: mean(&|i| f64::from(u8::from(answers[i].finished))),
        count,
    };
    Ok((score, scored))
}
