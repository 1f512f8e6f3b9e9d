use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vr1_data::Sample;
use vr1_reward::{Outcome, Program, Rollout};
use vr1_rollout::Group;

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

impl<'a> Answer<'a> {
    /// The first sequence of a group as the answer to the sample that it was asked about.
    pub fn of(sample: &'a Sample, group: &Group) -> Self {
        let said = &group.sequences()[0]; // a group has one
        Self {
            sample,
            prompt: group.prompt().text().to_owned(),
            completion: said.text().to_owned(),
            tokens: said.ids().len(),
            finished: said.finished(),
        }
    }
}

/// Averages over a set of answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The share of right answers among those that have a verdict; NaN where none has.
    #[serde(deserialize_with = "nullable")]
    pub accuracy: f64,
    /// The mean of each term of the reward, over the answers that have it.
    pub terms: BTreeMap<String, f64>,
    /// Mean length in tokens.
    pub completion_length: f64,
    /// The share that ended by itself.
    pub finished: f64,
    /// How many answers.
    pub count: usize,
    /// How many of them have no verdict: the reward failed, or its metric is missing.
    pub missing: usize,
    /// Why the first of those has none.
    pub why_missing: Option<String>,
}

/// JSON has no NaN; it writes `null`.
fn nullable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// An answer with what the reward says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Total and terms; nothing where the reward failed.
    pub outcome: Option<Outcome>,
    /// Whether the metric is above its threshold, where there is a verdict.
    pub right: Option<bool>,
}

/// Scores answers one after the other, and keeps no more of them than sums.
#[derive(Debug)]
pub struct Tally<'a> {
    reward: &'a Program,
    metric: &'a str,
    threshold: f64,
    sums: BTreeMap<String, (f64, usize)>,
    right: usize,
    tokens: usize,
    finished: usize,
    count: usize,
    missing: usize,
    why_missing: Option<String>,
}

impl<'a> Tally<'a> {
    /// A tally by `reward`; where its term `metric` is above `threshold`, an answer is right.
    ///
    /// # Errors
    /// If the reward has no term `metric`.
    pub fn new(reward: &'a Program, metric: &'a str, threshold: f64) -> Result<Self> {
        if !reward.term_names().any(|name| name == metric) {
            let known = reward.term_names().collect::<Vec<_>>().join(", ");
            return Err(Error::UnknownTerm { term: metric.to_owned(), known });
        }
        let (sums, why_missing) = (BTreeMap::new(), None);
        let (right, tokens, finished, count, missing) = (0, 0, 0, 0, 0);
        Ok(Self { reward, metric, threshold, sums, right, tokens, finished, count, missing, why_missing })
    }

    /// Scores an answer. One without a verdict is counted as missing, and is neither right nor wrong.
    pub fn add(&mut self, answer: &Answer<'_>) -> Scored {
        let rollout = Rollout {
            prompt: &answer.prompt,
            completion: &answer.completion,
            solution: &answer.sample.solution,
            tokens: answer.tokens,
            finished: answer.finished,
            fields: &answer.sample.fields,
        };
        self.count += 1;
        self.tokens += answer.tokens;
        self.finished += usize::from(answer.finished);
        let outcome = match self.reward.outcome(&rollout) {
            Ok(outcome) => outcome,
            Err(error) => {
                self.miss(answer, &error.to_string());
                return Scored { outcome: None, right: None };
            }
        };
        let mut right = None;
        for (name, value) in &outcome.terms {
            let Some(value) = value.map(f64::from) else { continue };
            let sum = self.sums.entry(name.clone()).or_default();
            *sum = (sum.0 + value, sum.1 + 1);
            if name == self.metric {
                right = Some(value > self.threshold);
            }
        }
        match right {
            Some(right) => self.right += usize::from(right),
            None => self.miss(answer, &format!("its `{}` is missing", self.metric)),
        }
        Scored { outcome: Some(outcome), right }
    }

    fn miss(&mut self, answer: &Answer<'_>, reason: &str) {
        self.missing += 1;
        self.why_missing.get_or_insert_with(|| format!("the answer to `{}`: {reason}", answer.sample.id));
    }

    /// The averages so far.
    pub fn score(&self) -> Score {
        let of = |sum: usize, count: usize| sum as f64 / count.max(1) as f64;
        Score {
            accuracy: self.right as f64 / (self.count - self.missing) as f64,
            terms: self.sums.iter().map(|(name, (sum, count))| (name.clone(), sum / *count as f64)).collect(),
            completion_length: of(self.tokens, self.count),
            finished: of(self.finished, self.count),
            count: self.count,
            missing: self.missing,
            why_missing: self.why_missing.clone(),
        }
    }
}
