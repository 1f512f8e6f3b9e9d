//! What a recipe comes to, told before a run begins.

use std::fmt;

use serde::{Deserialize, Serialize};
use vr1_learn::Sharding;
use vr1_rollout::Group;

mod told;

/// What a run by a recipe comes to: how much it looks at, how often it learns, and at which rates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Derivation {
    /// The recipe's name.
    pub system: String,
    /// Its stages, in order.
    pub stages: Vec<StageDerivation>,
    /// Checkpoints that it makes by steps, the last one among them.
    pub checkpoints: u64,
    /// Minutes after which another is made, whatever the step; 0 for none.
    pub checkpoint_minutes: f64,
    /// What the processes of the run hold each a share of.
    #[serde(default)]
    pub sharding: Sharding,
    /// The servers that sample, where this process does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled_by: Option<String>,
}

/// What a stage comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageDerivation {
    /// What it is called, or the kind of its objective.
    pub name: String,
    /// What a sample is to its objective: a prompt, a document, a pair, an answer.
    pub unit: String,
    /// Steps.
    pub steps: u64,
    /// Updates of the parameters.
    pub updates: u64,
    /// Samples of a step.
    pub samples_per_step: u64,
    /// Completions of each that the model samples; 0 where it learns from what is written.
    pub completions_per_sample: u64,
    /// Samples in all steps, those that come again counted again; replaced ones are not counted.
    pub samples_seen: u64,
    /// Samples that there are; nothing where they are drawn without end.
    pub samples: Option<u64>,
    /// How often each is seen, on average.
    pub epochs: Option<f64>,
    /// Tokens of the first samples' prompts.
    pub prompt_tokens: Option<Spread>,
    /// Tokens of the first samples' answers, of all those of a sample together, where they are written.
    pub answer_tokens: Option<Spread>,
    /// The longest completion in tokens, where the model samples it.
    pub max_completion_tokens: Option<u64>,
    /// Tokens of a step, by the mean of the first samples; at most where completions are sampled.
    pub tokens_per_step: Option<u64>,
    /// Micro-batches of so many tokens.
    pub micro_batches: Option<u64>,
    /// Why one of the first samples has no prompt.
    pub unread: Option<String>,
    /// Steps of warm-up.
    pub warmup_steps: u64,
    /// The rates of what is in no group, then of each group in turn.
    pub rates: Vec<Rate>,
    /// Evaluations during it, that at its end among them where another stage follows.
    pub evaluations: u64,
    /// Held-out samples of each.
    pub evaluation_samples: u64,
}

/// Least, mean and most of a number of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub least: u64,
    /// The mean.
    pub mean: f64,
    /// The most.
    pub most: u64,
    /// Of how many samples.
    pub of: u64,
}

/// How fast some parameters learn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The patterns of a group; none for all that are in no group.
    pub group: Vec<String>,
    /// The learning rate of the first step.
    pub start: f64,
    /// The highest.
    pub peak: f64,
    /// That of the last step.
    pub end: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

/// What an objective has to draw from, and the first of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Supply {
    /// Samples that there are.
    pub samples: u64,
    /// Tokens of the first samples' prompts.
    pub prompt_tokens: Vec<usize>,
    /// Tokens of all answers of each, where they are written.
    pub answer_tokens: Vec<usize>,
    /// Why one of these samples has none.
    pub unread: Option<String>,
}

impl Supply {
    /// One of so many samples with the tokens of its prompt and of its answers; or why it has none.
    pub fn add<E: fmt::Display>(&mut self, sample: Result<(usize, Option<usize>), E>) {
        match sample {
            Ok((prompt, answers)) => {
                self.prompt_tokens.push(prompt);
                self.answer_tokens.extend(answers);
            }
            Err(error) => drop(self.unread.get_or_insert_with(|| error.to_string())),
        }
    }
}

impl Spread {
    /// Of these numbers, if there is any.
    pub fn of(numbers: &[usize]) -> Option<Self> {
        let (least, most) = (numbers.iter().min()?, numbers.iter().max()?);
        let mean = numbers.iter().sum::<usize>() as f64 / numbers.len() as f64;
        Some(Self { least: *least as u64, mean, most: *most as u64, of: numbers.len() as u64 })
    }
}

/// Tokens of the prompts of groups, each counted once, and of all that follows them.
pub(crate) fn length<'a>(groups: impl IntoIterator<Item = &'a Group>) -> (usize, Option<usize>) {
    let of =
        |group: &Group| (group.prompt().len(), group.sequences().iter().map(|sequence| sequence.ids().len()).sum());
    let sum = |(a, b): (usize, usize), (x, y): (usize, usize)| (a + x, b + y);
    let (prompts, answers) = groups.into_iter().map(of).fold((0, 0), sum);
    (prompts, Some(answers))
}
