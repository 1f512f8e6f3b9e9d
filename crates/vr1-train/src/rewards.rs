//! Groups to rewards, and what is told of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vr1_data::Sample;
use vr1_reward::{Outcome, Program, Rollout as Judged};
use vr1_rollout::{Group, Sequence};

use crate::rollout::observations;
use crate::{Error, Result};

/// What becomes of a completion whose reward cannot be had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It is counted, told, and takes no part in the step.
    #[default]
    Missing,
    /// The run stops; what it had is saved first.
    Stop,
}

/// What a reward says of the completions of a group.
pub(crate) type Scored = Vec<vr1_reward::Result<Outcome>>;

/// What a reward said of a completion: nothing, where it failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) outcome: Outcome,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

/// What a reward said of the completions of a step.
pub(crate) struct Rewarded {
    /// A list for each group.
    pub(crate) said: Vec<Vec<Said>>,
    /// What could not be scored, and why.
    pub(crate) warnings: Vec<String>,
    /// How many have no total, and how many of these for a fault.
    missing: usize,
    errors: usize,
}

/// What a reward says of each sequence of a group of `sample`.
pub(crate) fn score(program: &Program, sample: &Sample, group: &Group) -> Scored {
    let rollouts: Vec<Judged<'_>> = group.sequences().iter().map(|sequence| judged(sample, group, sequence)).collect();
    program.outcomes(&rollouts)
}

pub(crate) fn judged<'a>(sample: &'a Sample, group: &'a Group, sequence: &'a Sequence) -> Judged<'a> {
    Judged {
        prompt: group.prompt().text(),
        completion: sequence.text(),
        solution: &sample.solution,
        tokens: sequence.trained_tokens(),
        finished: sequence.finished(),
        fields: &sample.fields,
    }
}

impl Rewarded {
    /// What was said of the groups of `samples` in `step`.
    ///
    /// # Errors
    /// Where a completion has no reward and the recipe has it stop.
    pub(crate) fn new(on_error: OnError, samples: &[&Sample], scored: Vec<Scored>, step: u64) -> Result<Self> {
        let (mut said, mut warnings) = (Vec::with_capacity(scored.len()), Vec::new());
        let (mut missing, mut errors) = (0, 0);
        for (sample, results) in samples.iter().zip(scored) {
            let mut group = Vec::with_capacity(results.len());
            for (completion, result) in results.into_iter().enumerate() {
                let fault = result.as_ref().map_or_else(|error| Some(error.clone()), |outcome| outcome.reward().err());
                if let Some(reason) = fault {
                    let place =
                        format!("step {step}: the reward of completion {completion} of `{}`: {reason}", sample.id);
                    if on_error == OnError::Stop {
                        return Err(Error::Recipe(place));
                    }
                    errors += usize::from(result.is_err());
                    missing += 1;
                    warnings.push(place);
                }
                let error = result.as_ref().err().map(ToString::to_string);
                group.push(Said { outcome: result.unwrap_or_default(), error });
            }
            said.push(group);
        }
        // One is told in full; a broken judge would fill the screen otherwise.
        warnings.truncate(1);
        if missing > 1 {
            warnings.push(format!("step {step}: {missing} completions have no reward and take no part"));
        }
        Ok(Self { said, warnings, missing, errors })
    }

    /// The totals of all completions in order; NaN where there is none, which takes no part.
    pub(crate) fn totals(&self) -> Vec<f32> {
        self.outcomes().map(|outcome| outcome.total.unwrap_or(f32::NAN)).collect()
    }

    /// Which completions have a total.
    pub(crate) fn present(&self) -> Vec<bool> {
        self.outcomes().map(|outcome| outcome.total.is_some()).collect()
    }

    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.said.iter().flatten().map(|said| &said.outcome)
    }

    /// Whether there is anything to learn from.
    ///
    /// # Errors
    /// Where no completion has a total: with the reason, which names the term or the field.
    pub(crate) fn any(&self, warnings: &[String], step: u64) -> Result<()> {
        if self.present().contains(&true) {
            return Ok(());
        }
        let why = warnings.first().map(|why| format!(" ({why})")).unwrap_or_default();
        Err(Error::Recipe(format!("step {step}: not one completion has a reward{why}")))
    }

    /// Counts what was scored beside this and is not learnt from.
    pub(crate) fn count(&mut self, other: &mut Self) {
        self.missing += other.missing;
        self.errors += other.errors;
        self.warnings.append(&mut other.warnings);
    }

    /// Means over the step, by name. What could not be scored counts for nothing in them, and is counted.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let present =
            |group: &[Said]| group.iter().filter_map(|said| said.outcome.total.map(f64::from)).collect::<Vec<_>>();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let spread = |group: &Vec<Said>| {
            let values = present(group);
            let centre = mean(&values);
            let squares: f64 = values.iter().map(|v| (v - centre).powi(2)).sum();
            (squares / (values.len().saturating_sub(1)).max(1) as f64).sqrt()
        };
        let all: Vec<f64> = self.said.iter().flat_map(|group| present(group)).collect();
        let spreads: Vec<f64> = self.said.iter().map(spread).collect();
        let equal = self.said.iter().filter(|group| same(&present(group))).count();
        let mut metrics = BTreeMap::from([
            ("reward_missing".to_owned(), self.missing as f64),
            ("reward_errors".to_owned(), self.errors as f64),
            ("groups_of_equals".to_owned(), equal as f64 / self.said.len().max(1) as f64),
        ]);
        if !all.is_empty() {
            metrics.insert("reward".to_owned(), mean(&all));
            metrics.insert("reward_std".to_owned(), mean(&spreads));
        }
        let mut terms: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (name, value) in self.outcomes().flat_map(|outcome| &outcome.terms) {
            terms.entry(name).or_default().extend(value.map(f64::from));
        }
        let known = terms.into_iter().filter(|(_, values)| !values.is_empty());
        metrics.extend(known.map(|(name, values)| (format!("rewards/{name}"), mean(&values))));
        metrics
    }
}

fn same(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

/// How long completions are, and how many were ended by the model.
pub(crate) fn lengths(groups: &[Group]) -> Vec<(String, f64)> {
    let sequences = || groups.iter().flat_map(Group::sequences);
    let count = sequences().count().max(1) as f64;
    let tokens = sequences().map(Sequence::trained_tokens).sum::<usize>() as f64;
    let finished = sequences().filter(|sequence| sequence.finished()).count() as f64;
    let mut metrics = vec![("completion_length".to_owned(), tokens / count), ("finished".to_owned(), finished / count)];
    let calls = sequences().map(|sequence| observations(sequence).len()).sum::<usize>() as f64;
    metrics.extend((calls > 0.0).then(|| ("tool_calls".to_owned(), calls / count)));
    let parts: Vec<(usize, usize)> = sequences().map(|sequence| thought_and_said(sequence.text())).collect();
    let mean = |of: fn(&(usize, usize)) -> usize| parts.iter().map(of).sum::<usize>() as f64 / count;
    metrics.push(("thinking_words".to_owned(), mean(|(thought, _)| *thought)));
    metrics.push(("answer_words".to_owned(), mean(|(_, said)| *said)));
    metrics.push(("answer_only_rate".to_owned(), mean(|(thought, said)| usize::from(*thought == 0 && *said > 0))));
    let pictures = groups.iter().map(|group| group.prompt().media().len()).sum::<usize>();
    metrics.push(("pictures".to_owned(), pictures as f64));
    let entropies = || sequences().filter_map(Sequence::sampled).flat_map(|sampled| &sampled.entropies);
    if entropies().next().is_some() {
        let sum: f64 = entropies().map(|&entropy| f64::from(entropy)).sum();
        metrics.push(("sampled_entropy".to_owned(), sum / entropies().count() as f64));
    }
    metrics
}

/// Words of a completion's thinking and of its answer: what stands before `</think>`, or before `<answer>` where nothing else is said of it,
/// and what stands in the last `<answer>`, or behind the thinking.
fn thought_and_said(completion: &str) -> (usize, usize) {
    let words = |text: &str| text.replace(['<', '>'], " ").split_whitespace().count();
    let (thought, rest) = match completion.split_once("</think>") {
        Some((thought, rest)) => (thought.trim_start().trim_start_matches("<think>"), rest),
        None => match completion.split_once("<answer>") {
            Some((thought, _)) => (thought.trim_start().trim_start_matches("<think>"), completion),
            None if completion.trim_start().starts_with("<think>") => (completion.trim_start_matches("<think>"), ""),
            None => ("", completion),
        },
    };
    let answer = rest.rsplit_once("<answer>").map_or(rest, |(_, answer)| answer);
    let answer = answer.split_once("</answer>").map_or(answer, |(answer, _)| answer);
    (words(thought), words(answer))
}

#[cfg(test)]
mod tests {
    use super::thought_and_said;

    #[test]
    fn thinking_and_answer_are_told_apart_however_they_are_marked() {
        let parts = [
            ("<think>one two</think><answer>three</answer>", (2, 1)),
            ("one two</think>\n<answer>three four</answer>", (2, 2)),
            ("one two <answer>three</answer>", (2, 1)),
            ("<answer>three</answer>", (0, 1)),
            ("<think></think>\n<answer>three</answer>", (0, 1)),
            ("<think>one two</think> so it is three", (2, 4)),
            ("<think>never came to an end", (5, 0)),
            ("a plain answer", (0, 3)),
            ("", (0, 0)),
        ];
        for (completion, expected) in parts {
            assert_eq!(thought_and_said(completion), expected, "{completion:?}");
        }
    }
}
