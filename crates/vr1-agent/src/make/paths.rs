//! Answers that are judged, filtered, told to whoever grades them, and chosen from.

use vr1_data::Sample;
use vr1_reward::Rollout;

use super::answer::text_of;
use super::making::{Candidate, Wanted};
use super::{Choose, Dropped, Judging, Keep, Making};
use crate::{Error, Result};

/// What is judged of each answer.
pub(crate) fn judged(making: &Making<'_>, sample: &Sample, candidates: &[Candidate]) -> Result<Vec<String>> {
    let failed = |source| Error::Sample { sample: sample.id.clone(), source };
    let words = |candidate: &Candidate| {
        let said = making.wording.judged(&candidate.sample(sample)).map_err(failed)?;
        Ok(said.unwrap_or_else(|| candidate.completion.clone()))
    };
    candidates.iter().map(words).collect()
}

/// What a reward says of each of the answers, or why it says nothing.
pub(crate) fn rewards(
    judging: &Judging<'_>,
    sample: &Sample,
    candidates: &[Candidate],
    judged: &[String],
) -> Vec<Result<f32, String>> {
    let rollout = |(candidate, completion): (&Candidate, &String)| {
        let said = candidate.sample(sample);
        (said, completion.clone(), candidate.tokens)
    };
    let told: Vec<(Sample, String, usize)> = candidates.iter().zip(judged).map(rollout).collect();
    let rollouts: Vec<Rollout<'_>> = told
        .iter()
        .map(|(said, completion, tokens)| Rollout {
            prompt: &sample.question,
            completion,
            solution: &sample.solution,
            tokens: *tokens,
            finished: true,
            fields: &said.fields,
        })
        .collect();
    let outcome = |outcome: vr1_reward::Result<vr1_reward::Outcome>| {
        let outcome = outcome.map_err(|error| error.to_string())?;
        match judging.term {
            None => outcome.reward().map_err(|error| error.to_string()),
            Some(term) => {
                let found = outcome.terms.iter().find(|(name, _)| name == term).and_then(|(_, value)| *value);
                found.ok_or_else(|| format!("`{term}` has no value"))
            }
        }
    };
    judging.program.outcomes(&rollouts).into_iter().map(outcome).collect()
}

/// The answers whose reward is high enough.
pub(crate) fn rewarded(
    judging: &Judging<'_>,
    candidates: Vec<Candidate>,
    rewards: Vec<Result<f32, String>>,
    dropped: &mut Dropped,
) -> Vec<Candidate> {
    let mut kept = vec![];
    for (mut candidate, reward) in candidates.into_iter().zip(rewards) {
        match reward {
            Ok(reward) if reward >= judging.at_least => {
                candidate.reward = Some(reward);
                kept.push(candidate);
            }
            Ok(_) => dropped.add(format!("a reward below {}", judging.at_least), None),
            Err(reason) => dropped.add("no reward", Some(reason)),
        }
    }
    kept
}

/// The answers that say what they must, and nothing that they must not.
pub(crate) fn filtered(
    making: &Making<'_>,
    sample: &Sample,
    candidates: Vec<Candidate>,
    dropped: &mut Dropped,
) -> Vec<Candidate> {
    let mut passes = |candidate: &Candidate| {
        let said = candidate.sample(sample);
        let bad = making.filters.iter().find(|filter| {
            let text = match filter.of.as_str() {
                "question" => said.question.clone(),
                "solution" => said.solution.clone(),
                of => said.fields.get(of).map(text_of).unwrap_or_default(),
            };
            filter.pattern.is_match(&text) != (filter.wanted == Wanted::Found)
        });
        if let Some(filter) = bad {
            let how = if filter.wanted == Wanted::Found { "does not match" } else { "matches" };
            let pattern = filter.pattern.as_str();
            dropped.add(format!("`{}` {how} {pattern:?}", filter.of), Some(candidate.completion.clone()));
        }
        bad.is_none()
    };
    candidates.into_iter().filter(|candidate| passes(candidate)).collect()
}

/// Answers as whoever grades them is shown them, numbered from 1.
pub(crate) fn told(candidates: &[Candidate]) -> String {
    let path = |(i, candidate): (usize, &Candidate)| {
        let path = candidate.pieces.get("path").map_or_else(|| candidate.completion.clone(), text_of);
        format!("Path {}:\n{path}", i + 1)
    };
    candidates.iter().enumerate().map(path).collect::<Vec<_>>().join("\n\n")
}

/// Those that are kept of a question, in the order they were given.
pub(crate) fn chosen(keep: Keep, mut candidates: Vec<Candidate>, dropped: &mut Dropped) -> Vec<Candidate> {
    let Some(most) = keep.per_question.filter(|most| *most < candidates.len()) else { return candidates };
    let worth = |candidate: &Candidate| {
        candidate.score.or(candidate.reward.map(f64::from)).filter(|worth| !worth.is_nan()).unwrap_or(f64::MIN)
    };
    match keep.choose {
        Choose::First => {}
        Choose::Best => candidates.sort_by(|a, b| worth(b).total_cmp(&worth(a))),
        Choose::Shortest => candidates.sort_by_key(|candidate| candidate.completion.chars().count()),
    }
    candidates.drain(most..).for_each(|_| dropped.add("another of its question was chosen", None));
    candidates.sort_by_key(|candidate| candidate.attempt);
    candidates
}
