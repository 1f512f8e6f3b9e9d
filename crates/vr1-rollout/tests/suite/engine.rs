//! What stands on an engine: order, and what becomes of requests that fail.

use std::any::Any;
use std::path::Path;

use vr1_processor::Voice;
use vr1_rollout::{Engine, Error, Finish, Group, Request, Result, Sampling, Scripted, Ticket, Version, Weights};

use crate::asked::{empty, key, prompt, request, tokenizer};

/// An engine that gives what is done in an order of its own, `at_once` groups a poll, the last submitted first.
struct Backwards<E> {
    inner: E,
    done: Vec<(Ticket, Group)>,
    at_once: usize,
    /// Groups that it loses.
    lost: usize,
}

impl<E: Engine> Backwards<E> {
    fn new(inner: E, at_once: usize) -> Self {
        Self { inner, done: Vec::new(), at_once, lost: 0 }
    }
}

impl<E: Engine> Engine for Backwards<E> {
    fn submit(&mut self, request: Request) -> Result<Ticket> {
        self.inner.submit(request)
    }

    fn poll(&mut self) -> Result<Vec<(Ticket, Group)>> {
        loop {
            let more = self.inner.poll()?;
            if more.is_empty() {
                break;
            }
            self.done.extend(more);
        }
        let kept = self.done.len().saturating_sub(self.at_once);
        let mut given = self.done.split_off(kept);
        given.reverse();
        given.truncate(given.len().saturating_sub(self.lost));
        Ok(given)
    }

    fn load(&mut self, weights: &dyn Weights) -> Result<Version> {
        self.inner.load(weights)
    }
}

/// Says the sample's name and the completion's number.
fn named() -> impl Engine {
    Scripted::new(tokenizer(), |request: &Request, completion| {
        Some(format!("{} {completion}<|im_end|>", request.prompt.sample()))
    })
}

fn texts(groups: &[Group]) -> Vec<Vec<&str>> {
    groups.iter().map(|group| group.sequences().iter().map(|sequence| sequence.text()).collect()).collect()
}

#[test]
fn groups_come_in_the_order_of_requests_whatever_order_they_are_done_in() {
    let names = ["c", "a", "e", "b", "d"];
    for at_once in 1..=6 {
        let requests = names.iter().zip(0..).map(|(name, i)| request(name, i, 1 + i as usize % 3)).collect();
        let groups = Backwards::new(named(), at_once).generate(requests).unwrap();
        let expected = [vec!["c 0"], vec!["a 0", "a 1"], vec!["e 0", "e 1", "e 2"], vec!["b 0"], vec!["d 0", "d 1"]];
        assert_eq!(texts(&groups), expected, "{at_once} at once");
        let keys: Vec<u64> = groups.iter().map(|group| group.key().index).collect();
        assert_eq!(keys, [0, 1, 2, 3, 4]);
    }
    assert!(named().generate(Vec::new()).unwrap().is_empty());
}

#[test]
fn what_was_under_way_before_is_not_taken_for_what_is_asked_now() {
    for at_once in 1..4 {
        let mut engine = Backwards::new(named(), at_once);
        engine.submit(request("earlier", 9, 1)).unwrap();
        let groups = engine.generate(vec![request("a", 0, 1), request("b", 1, 1)]).unwrap();
        assert_eq!(texts(&groups), [["a 0"], ["b 0"]]);
    }
    // One that was refused leaves those before it behind.
    let mut engine = named();
    let refused = Request { completions: 0, ..request("b", 1, 1) };
    assert!(engine.generate(vec![request("a", 0, 1), refused]).is_err());
    assert_eq!(texts(&engine.generate(vec![request("c", 0, 2)]).unwrap()), [["c 0", "c 1"]]);
}

#[test]
fn an_engine_that_loses_a_group_is_found_out() {
    let mut engine = Backwards { lost: 1, ..Backwards::new(named(), 3) };
    let error = engine.generate((0..3).map(|i| request("s", i, 1)).collect()).unwrap_err();
    assert!(matches!(error, Error::Lost { done: 2, wanted: 3 }), "{error}");
}

#[test]
fn a_script_says_its_answers_and_ends_them_where_they_end() {
    let mut engine = Scripted::new(tokenizer(), |_: &Request, completion| {
        Some(["Three.<|im_end|>", "Three <|im_end|> or", "<|im_end|>", "Three.<|im_end|>"][completion].to_owned())
    });
    let sampling = Sampling { max_completion_tokens: 6, ..Sampling::default() };
    let groups = engine.generate(vec![Request { sampling, ..request("s", 0, 4) }]).unwrap();
    let end = tokenizer().id("<|im_end|>").unwrap();
    let [whole, spelt, bare, again] = groups[0].sequences() else { panic!() };
    assert_eq!(whole.ids(), [tokenizer().encode_words("Three.", Voice::Model).unwrap(), vec![end]].concat());
    assert_eq!((whole.text(), whole.finished()), ("Three.", true));
    // Spelt within an answer it is text, of which only so much fits.
    assert_eq!((spelt.ids().len(), spelt.finished()), (6, false));
    assert!(!spelt.ids().contains(&end));
    assert_eq!((bare.ids(), bare.text(), bare.finished()), (&[end][..], "", true));
    assert_eq!(again.ids(), whole.ids());
    for sequence in groups[0].sequences() {
        let said = sequence.sampled().unwrap();
        assert_eq!((&said.logprobs, &said.drawn), (&vec![0.0; sequence.ids().len()], &said.logprobs));
        assert_eq!(said.finish == Finish::Ended, sequence.finished());
    }
}

#[test]
fn a_script_without_an_answer_names_what_it_lacks_and_forgets_the_rest() {
    let mut engine = Scripted::new(tokenizer(), |request: &Request, completion| {
        (request.prompt.sample() != "odd" || completion < 2).then(|| "Yes.".to_owned())
    });
    let error = engine.generate(vec![request("odd", 0, 3), request("s", 1, 1)]).unwrap_err();
    assert!(matches!(&error, Error::NoAnswer { sample, completion: 2 } if sample == "odd"), "{error}");
    assert!(engine.poll().unwrap().is_empty());
    assert_eq!(texts(&engine.generate(vec![request("s", 1, 1)]).unwrap()), [["Yes."]]);
}

#[test]
fn what_cannot_be_completed_is_refused_when_it_is_submitted() {
    let mut engine = named();
    let hot = Sampling { temperature: -1.0, ..Sampling::default() };
    let error = engine.submit(Request::new(prompt("s"), 1, hot, key(0))).unwrap_err().to_string();
    assert!(error.starts_with("sampling: temperature is -1"), "{error}");
    let error = engine.submit(Request::new(empty("s"), 1, Sampling::default(), key(0))).unwrap_err().to_string();
    assert!(error.starts_with("sample `s`: a prompt without a token"), "{error}");
    assert!(engine.poll().unwrap().is_empty());
}

#[test]
fn a_sequence_names_the_weights_it_was_said_with() {
    struct Fourth;
    impl Weights for Fourth {
        fn version(&self) -> Version {
            Version(4)
        }
        fn write(&self, _: &Path) -> Result<()> {
            Ok(())
        }
        fn as_any(&self) -> &dyn Any {
            self
        }
    }
    let mut engine = named();
    let version = |engine: &mut dyn Engine| {
        let groups = engine.generate(vec![request("s", 0, 1)]).unwrap();
        groups[0].sequences()[0].sampled().unwrap().version
    };
    assert_eq!(version(&mut engine), Version(0));
    assert_eq!(engine.load(&Fourth).unwrap(), Version(4));
    assert_eq!(version(&mut engine), Version(4));
}
