//! Averages over answers, of which some have no verdict.

use vr1_data::Sample;
use vr1_eval::{Answer, Score, Tally};
use vr1_reward::{Program, Registry};

/// Right above one half; `size` is there for every answer, `half` only for one of an even length.
const REWARD: &str = "
terms:
  accuracy: to_number(completion)
  size: tokens
  half: 'if tokens % 2 == 0 then tokens / 2 else missing'
total: accuracy + size + (half ?? 0)
";

fn answer<'a>(sample: &'a Sample, completion: &str, tokens: usize) -> Answer<'a> {
    Answer { sample, prompt: "What?".into(), completion: completion.into(), tokens, finished: tokens > 1 }
}

fn score(completions: &[(&str, usize)]) -> Score {
    let program = Program::parse(REWARD, &Registry::default()).unwrap();
    let mut tally = Tally::new(&program, "accuracy", 0.5).unwrap();
    let sample = Sample { id: "seven".into(), ..Sample::default() };
    completions.iter().for_each(|(words, tokens)| drop(tally.add(&answer(&sample, words, *tokens))));
    tally.score()
}

#[test]
fn what_has_no_verdict_is_neither_right_nor_wrong() {
    let score = score(&[("1", 2), ("0.5", 3), ("no number", 4), ("0.75", 1)]);
    assert_eq!((score.count, score.missing), (4, 1));
    assert_eq!(score.accuracy, 2.0 / 3.0, "at the threshold is not above it");
    assert_eq!(score.why_missing.as_deref(), Some("the answer to `seven`: its `accuracy` is missing"));
}

#[test]
fn a_term_is_averaged_over_the_answers_that_have_it() {
    let score = score(&[("1", 2), ("0.5", 3), ("no number", 4), ("0.75", 1)]);
    assert_eq!(score.terms["accuracy"], (1.0 + 0.5 + 0.75) / 3.0);
    assert_eq!((score.terms["size"], score.terms["half"]), (10.0 / 4.0, (1.0 + 2.0) / 2.0));
    assert_eq!((score.completion_length, score.finished), (10.0 / 4.0, 3.0 / 4.0));
}

#[test]
fn where_nothing_has_a_verdict_there_is_no_accuracy() {
    for score in [score(&[("no", 1), ("number", 2)]), score(&[])] {
        assert!(score.accuracy.is_nan() && score.missing == score.count, "{score:?}");
        let again: Score = serde_json::from_str(&serde_json::to_string(&score).unwrap()).unwrap();
        assert!(again.accuracy.is_nan() && again.terms == score.terms);
    }
}

#[test]
fn a_reward_that_fails_is_counted_with_its_reason() {
    let mut registry = Registry::default();
    registry.register("judge", |_| Err(vr1_reward::Error::verifier("judge", "the judge is asleep")));
    let program = Program::parse("terms: { accuracy: judge(completion) }\ntotal: accuracy", &registry).unwrap();
    let mut tally = Tally::new(&program, "accuracy", 0.5).unwrap();
    let sample = Sample { id: "seven".into(), ..Sample::default() };
    let scored = tally.add(&answer(&sample, "7", 1));
    assert_eq!((scored.right, scored.outcome), (None, None));
    let why = tally.score().why_missing.unwrap();
    assert!(why.starts_with("the answer to `seven`: ") && why.contains("the judge is asleep"), "{why}");
}

#[test]
fn a_metric_that_the_reward_does_not_have_is_named_with_those_it_has() {
    let program = Program::parse(REWARD, &Registry::default()).unwrap();
    let error = Tally::new(&program, "acuracy", 0.5).unwrap_err().to_string();
    assert!(error.contains("acuracy") && error.contains("accuracy, size, half"), "{error}");
}
