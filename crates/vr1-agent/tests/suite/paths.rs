//! Scoring and choosing paths.

use vr1_agent::{Error, best_path, ranked, score_paths};
use vr1_data::Sample;
use vr1_processor::Layout;
use vr1_reward::{Reward, Rollout, from_fn};
use vr1_rollout::{Finish, Sampled, Sequence, Version};

use crate::asked::processor;

/// A path of as many tokens as letters.
fn path(text: &str) -> Sequence {
    let prompt = processor().sample(&sample(), "2+2?", Layout::Chat, "").unwrap();
    let numbers = || vec![-1.0; text.len()];
    let sampled = Sampled {
        logprobs: numbers(),
        drawn: numbers(),
        entropies: Vec::new(),
        version: Version::default(),
        finish: Finish::Ended,
    };
    Sequence::completion(prompt.into(), &vec![7; text.len()], text.into(), sampled).unwrap()
}

fn sample() -> Sample {
    let mut sample = Sample { id: "s-1".into(), question: "2+2?".into(), solution: "4".into(), ..Sample::default() };
    sample.fields.insert("bonus".into(), 0.25.into());
    sample
}

#[test]
fn a_reward_sees_the_path_and_the_sample() {
    let reward = from_fn("all of it", |r| {
        assert_eq!((r.prompt, r.solution, r.finished), ("2+2?", "4", true));
        let bonus = r.fields["bonus"].as_f64().unwrap() as f32;
        Ok(r.tokens as f32 + bonus + f32::from(u8::from(r.completion.ends_with(r.solution))))
    });
    assert_eq!(score_paths(&reward, &sample(), &[path("is 4"), path("is 5"), path("4")]).unwrap(), [5.25, 4.25, 2.25]);
}

#[test]
fn a_reward_sees_all_paths_of_a_question_as_one_group() {
    /// One for the longest of the group alone.
    struct Longest;
    impl Reward for Longest {
        fn name(&self) -> &str {
            "longest"
        }
        fn score(&self, _: &Rollout<'_>) -> vr1_reward::Result<f32> {
            Err(vr1_reward::Error::Missing { name: "longest".into() })
        }
        fn score_group(&self, group: &[Rollout<'_>]) -> vr1_reward::Result<Vec<f32>> {
            let longest = group.iter().map(|r| r.tokens).max().unwrap_or(0);
            Ok(group.iter().map(|r| f32::from(u8::from(r.tokens == longest))).collect())
        }
    }
    assert_eq!(score_paths(&Longest, &sample(), &[path("a"), path("abc"), path("ab")]).unwrap(), [0.0, 1.0, 0.0]);
}

#[test]
fn the_best_stands_against_the_worst_and_ties_against_nothing() {
    let paths = ["a", "b", "c", "d", "e"].map(path);
    let texts = |rewards: &[f32]| {
        let pair = best_path(rewards, &paths[..rewards.len()]).unwrap();
        pair.map(|pair| (pair.best.text().to_owned(), pair.worst.text().to_owned(), pair.margin))
    };
    assert_eq!(texts(&[1.0, 3.0, 2.0]), Some(("b".into(), "a".into(), 2.0)));
    // Of equals the first, on both sides; what has no reward takes no part.
    assert_eq!(texts(&[0.0, 1.0, 0.0, 1.0, f32::NAN]), Some(("b".into(), "a".into(), 1.0)));
    assert_eq!(texts(&[f32::NAN, -1.0, 0.5]), Some(("c".into(), "b".into(), 1.5)));
    for tied in [&[][..], &[1.0], &[2.0, 2.0, 2.0], &[0.0, -0.0], &[f32::NAN, 1.0], &[f32::NAN, f32::NAN]] {
        assert_eq!(texts(tied), None, "{tied:?}");
    }
}

#[test]
fn ranking_is_from_the_best_down() {
    assert_eq!(ranked(&[0.1, 0.9, f32::NAN, 0.9, f32::NEG_INFINITY]), [1, 3, 0, 4]);
}

#[test]
fn faults_name_the_sample_or_the_counts() {
    let paths = ["a", "b"].map(path);
    let error = best_path(&[1.0], &paths).unwrap_err();
    assert_eq!(error.to_string(), "1 rewards for 2 paths");
    let fails = from_fn("fails", |_| Err(vr1_reward::Error::Missing { name: "total".into() }));
    let error = score_paths(&fails, &sample(), &paths).unwrap_err();
    assert!(matches!(&error, Error::Reward { sample, .. } if sample == "s-1"), "{error}");
}
