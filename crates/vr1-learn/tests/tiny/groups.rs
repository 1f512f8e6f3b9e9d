//! Groups of sequences.

use std::sync::Arc;

use vr1_learn::Signals;
use vr1_processor::Prompt;
use vr1_rollout::{Finish, Group, SampleKey, Sampled, Sequence, Version};

use super::{picture, prompt};

pub(crate) fn key(index: u64) -> SampleKey {
    SampleKey { index, ..SampleKey::default() }
}

/// Answers that nobody sampled, every token of which is learnt.
pub(crate) fn group(index: u64, prompt: &Arc<Prompt>, answers: &[Vec<i64>]) -> Group {
    let one = |ids: &Vec<i64>| {
        let tail = prompt.tail(ids, "").unwrap();
        Sequence::new(prompt.clone(), tail, vec![true; ids.len()], String::new()).unwrap()
    };
    Group::new(key(index), answers.iter().map(one).collect()).unwrap()
}

/// The same as if an engine had sampled them with these log-probabilities a token.
pub(crate) fn sampled(index: u64, prompt: &Arc<Prompt>, answers: &[Vec<i64>], logprob: f32) -> Group {
    let one = |ids: &Vec<i64>| {
        let said = vec![logprob; ids.len()];
        let sampled = Sampled {
            logprobs: said.clone(),
            drawn: said,
            entropies: Vec::new(),
            version: Version::default(),
            finish: Finish::Ended,
        };
        Sequence::completion(prompt.clone(), ids, String::new(), sampled).unwrap()
    };
    Group::new(key(index), answers.iter().map(one).collect()).unwrap()
}

/// An answer with words in its midst that are not learnt.
pub(crate) fn document(index: u64, prompt: &Arc<Prompt>, ids: &[i64], skipped: std::ops::Range<usize>) -> Group {
    let trained = (0..ids.len()).map(|i| !skipped.contains(&i)).collect();
    let sequence = Sequence::new(prompt.clone(), prompt.tail(ids, "").unwrap(), trained, String::new()).unwrap();
    Group::new(key(index), vec![sequence]).unwrap()
}

/// Answers of these lengths, all different.
pub(crate) fn answers(lengths: &[usize]) -> Vec<Vec<i64>> {
    let id = |row: usize, t: usize| ((row * 37 + t * 11 + 5) % 300) as i64;
    lengths.iter().enumerate().map(|(row, &length)| (0..length).map(|t| id(row, t)).collect()).collect()
}

/// Groups of one to five sequences of one to nine tokens, behind none, one and two pictures; one has words that are not learnt.
pub(crate) fn mixed() -> Vec<Group> {
    let [small, wide, tall] = [picture(56, 56, 0), picture(56, 84, 1), picture(84, 56, 2)];
    vec![
        group(0, &prompt("one", std::slice::from_ref(&small), "What is it?"), &answers(&[3, 7, 1, 4, 2])),
        document(1, &prompt("none", &[], "Two and two?"), &answers(&[9])[0], 3..6),
        group(2, &prompt("two", &[wide, tall], "Which?"), &answers(&[5, 5, 8])),
        group(3, &prompt("again", &[small], "And now?"), &answers(&[1, 6])),
    ]
}

/// A number for each sequence, of both signs and none alike.
pub(crate) fn signals(groups: &[Group]) -> Signals {
    let count: usize = groups.iter().map(Group::size).sum();
    Signals::new((0..count).map(|i| (i as f32 * 0.37 + 0.2) * if i % 3 == 1 { -1.0 } else { 1.0 }).collect())
}
