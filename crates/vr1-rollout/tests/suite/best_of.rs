//! The best of several completions.

use vr1_rollout::{Error, Request, Scripted, best_of};

use crate::asked::{request, tokenizer};

/// The best of completions that say these numbers, judged by what they say.
fn best(said: &[&[&str]]) -> Vec<String> {
    let mut engine = Scripted::new(tokenizer(), |request: &Request, completion| {
        Some(said[request.key.index as usize][completion].to_owned())
    });
    let requests = said.iter().zip(0..).map(|(said, i)| request("s", i, said.len())).collect();
    let best = best_of(&mut engine, requests, |group, sequence| {
        assert!(group.sequences().iter().any(|other| other.text() == sequence.text()));
        Ok(sequence.text().split(' ').next().unwrap().parse().unwrap())
    });
    best.unwrap().iter().map(|sequence| sequence.text().to_owned()).collect()
}

#[test]
fn the_best_of_each_request_is_taken() {
    assert_eq!(best(&[&["1", "3", "2"], &["-5"], &["-2", "-3"], &["0", "inf", "9"]]), ["3", "-5", "-2", "inf"]);
    assert!(best(&[]).is_empty());
}

#[test]
fn of_equals_the_first_is_taken_and_no_number_is_worse_than_any() {
    assert_eq!(best(&[&["1 a", "2 b", "2 c"], &["1 a", "1 b"]]), ["2 b", "1 a"]);
    assert_eq!(best(&[&["NaN a", "-inf b", "NaN c"], &["-9 a", "NaN b"]]), ["-inf b", "-9 a"]);
    assert_eq!(best(&[&["NaN a", "NaN b", "NaN c"]]), ["NaN a"]);
}

#[test]
fn a_score_that_cannot_be_had_is_an_error() {
    let mut engine = Scripted::new(tokenizer(), |_: &Request, _| Some("1".to_owned()));
    let error = best_of(&mut engine, vec![request("s", 0, 2)], |_, _| Err(Error::engine("no judge"))).unwrap_err();
    assert_eq!(error.to_string(), "no judge");
}
