//! Reasoner and summariser, with scripted engines.

use std::cell::RefCell;
use std::sync::Arc;

use vr1_agent::{AgentPrompts, Asked, Engines, Error, ReasonThenSummarise, Role, thoughts};
use vr1_data::{Media, Picture, Sample};
use vr1_processor::Tokenizer;
use vr1_rollout::{Engine, Group, Request, Result, SampleKey, Sampling, Scripted, Ticket, Version, Weights};

use crate::asked::processor;

fn sample(id: &str, question: &str) -> Sample {
    let pixels = image::RgbImage::from_fn(56, 56, |x, y| image::Rgb([x as u8 * 4, y as u8 * 4, 90]));
    let media = vec![Media::Image(Picture::Pixels(Arc::new(pixels)))];
    Sample { id: id.into(), media, question: question.into(), solution: "4".into(), ..Sample::default() }
}

/// A key a sample, none of them the default one.
fn asked(samples: &[Sample]) -> Vec<Asked<'_>> {
    let key = |index| SampleKey { dataset: 1, epoch: 2, index };
    (7..).map(key).zip(samples).collect()
}

/// Says the same thing every time, with the number of the completion, and remembers what it was asked.
fn saying<'a>(tokenizer: Tokenizer, says: &'a str, heard: &'a RefCell<Vec<Request>>) -> impl Engine + 'a {
    Scripted::new(tokenizer, move |request: &Request, completion| {
        if completion == 0 {
            heard.borrow_mut().push(request.clone());
        }
        let number = if completion == 0 { String::new() } else { format!(" ({completion})") };
        Some(format!("{says}{number}<|im_end|>"))
    })
}

/// An engine that withholds a completion of each group, or a group.
struct Mean<E> {
    inner: E,
    groups: usize,
    completions: usize,
}

impl<E: Engine> Engine for Mean<E> {
    fn submit(&mut self, request: Request) -> Result<Ticket> {
        self.inner.submit(request)
    }

    fn poll(&mut self) -> Result<Vec<(Ticket, Group)>> {
        self.inner.poll()
    }

    fn load(&mut self, weights: &dyn Weights) -> Result<Version> {
        self.inner.load(weights)
    }

    fn generate(&mut self, requests: Vec<Request>) -> Result<Vec<Group>> {
        let mut groups = self.inner.generate(requests)?;
        groups.truncate(groups.len() - self.groups);
        let fewer = |group: Group| {
            let (key, mut sequences) = (group.key(), group.into_sequences());
            sequences.truncate(sequences.len() - self.completions);
            Group::new(key, sequences)
        };
        groups.into_iter().map(fewer).collect()
    }
}

const SAID: &str = "Well. <thoughts>\nCount: 2 and 2.\n</thoughts> So 5.";

#[test]
fn the_summariser_sees_media_question_and_the_reasoners_path() {
    let processor = processor();
    let (first, second) = (RefCell::default(), RefCell::default());
    let mut reasoner = saying(processor.tokenizer().clone(), SAID, &first);
    let mut summariser = saying(processor.tokenizer().clone(), "It is 4.", &second);
    let agents = ReasonThenSummarise::new(&processor, &processor);
    let samples = [sample("s-1", "How many cubes?"), sample("s-2", "What is {reasoning}?")];
    let engines = Engines::Own { reasoner: &mut reasoner, summariser: &mut summariser };
    let answers = agents.answer(engines, &asked(&samples)).unwrap();

    assert_eq!(answers.len(), 2);
    for answer in &answers {
        assert_eq!(answer.reasoning.text(), SAID);
        assert_eq!(answer.path, "<thoughts>\n\nCount: 2 and 2.\n</thoughts>\n");
        assert_eq!((answer.answer.text(), answer.answer.finished()), ("It is 4.", true));
    }

    let (first, second) = (first.borrow(), second.borrow());
    let asked = "How many cubes?\n\nPerform step-by-step reasoning of the problem. Only provide the reasoning process.";
    assert!(first[0].prompt.text().contains(asked), "{}", first[0].prompt.text());
    let sampling = &first[0].sampling;
    assert_eq!((sampling.temperature, sampling.top_p, sampling.max_completion_tokens), (0.2, 0.95, 1024));
    let shown = "QUESTION: How many cubes?\n\nREASON PROCESS: <thoughts>\n\nCount: 2 and 2.\n</thoughts>\n";
    assert!(second[0].prompt.text().contains(shown), "{}", second[0].prompt.text());
    assert_eq!(second[0].sampling.max_completion_tokens, 4096);
    // What stands in a placeholder's place is not searched for placeholders.
    let shown = "QUESTION: What is {reasoning}?\n\nREASON PROCESS: <thoughts>\n\nCount: 2 and 2.\n</thoughts>\n";
    assert!(second[1].prompt.text().contains(shown), "{}", second[1].prompt.text());
    // Both see the picture: 56 pixels are four patches of 14, two merged ones.
    for request in first.iter().chain(&*second) {
        assert_eq!(request.prompt.media().len(), 1);
        assert_eq!(request.prompt.media()[0].grid, [1, 2, 2]);
    }
    assert_eq!((first[1].prompt.sample(), second[1].prompt.sample()), ("s-2", "s-2"));
}

#[test]
fn one_model_may_be_both_and_draws_other_numbers_for_each() {
    let processor = processor();
    let heard = RefCell::default();
    let mut engine = saying(processor.tokenizer().clone(), "Two and two.", &heard);
    let mut agents = ReasonThenSummarise::new(&processor, &processor);
    agents.reasoner.sampling = Sampling { seed: 4, ..Sampling::default() };
    agents.summariser.sampling = Sampling { seed: 4, ..Sampling::default() };
    let samples = [sample("s-1", "How many?"), sample("s-2", "Which?")];
    let answers = agents.answer(Engines::Shared(&mut engine), &asked(&samples)).unwrap();
    assert_eq!(answers[1].path, "<thoughts>\nTwo and two.</thoughts>\n");
    let heard = heard.borrow();
    let keys: Vec<SampleKey> = heard.iter().map(|request| request.key).collect();
    let [first, second] = [0, 1].map(|i| asked(&samples)[i].0);
    assert_eq!(keys, [first, second, first, second], "all reasoning comes first");
    assert_eq!(heard.iter().map(|request| request.sampling.seed).collect::<Vec<_>>(), [4, 4, 5, 5]);
}

#[test]
fn several_paths_of_a_sample_are_one_group_and_any_path_may_be_summarised() {
    let processor = processor();
    let heard = RefCell::default();
    let mut engine = saying(processor.tokenizer().clone(), "Two", &heard);
    let agents = ReasonThenSummarise::new(&processor, &processor);
    let samples = [sample("s-1", "How many?"), sample("s-2", "Which?")];
    let groups = agents.reason(&mut engine, &asked(&samples), 3).unwrap();
    let texts = |group: &Group| group.sequences().iter().map(|path| path.text().to_owned()).collect::<Vec<_>>();
    assert_eq!(groups.iter().map(texts).collect::<Vec<_>>(), vec![["Two", "Two (1)", "Two (2)"]; 2]);
    assert_eq!(
        groups.iter().map(Group::key).collect::<Vec<_>>(),
        asked(&samples).iter().map(|a| a.0).collect::<Vec<_>>()
    );
    let shown = ["<thoughts>\nOne.</thoughts>\n", "<thoughts>\nNone.</thoughts>\n"];
    agents.summarise(&mut engine, &asked(&samples), &shown).unwrap();
    for (request, shown) in heard.borrow()[2..].iter().zip(shown) {
        assert!(request.prompt.text().contains(shown), "{}", request.prompt.text());
    }
}

#[test]
fn the_path_is_what_stands_between_the_last_thoughts() {
    assert_eq!(thoughts("<thoughts>a</thoughts><thoughts>b</thoughts>c</thoughts>"), "<thoughts>\nb</thoughts>\n");
    assert_eq!(thoughts("a</thoughts>b"), "<thoughts>\na</thoughts>\n");
    assert_eq!(thoughts(""), "<thoughts>\n</thoughts>\n");
}

#[test]
fn a_path_that_had_no_room_is_shown_as_far_as_it_goes() {
    let processor = processor();
    let heard = RefCell::default();
    let mut engine = saying(processor.tokenizer().clone(), "Two and two are more than three", &heard);
    let mut agents = ReasonThenSummarise::new(&processor, &processor);
    agents.reasoner.sampling.max_completion_tokens = 4;
    let samples = [sample("s-1", "How many?")];
    let answer = agents.answer(Engines::Shared(&mut engine), &asked(&samples)).unwrap().remove(0);
    assert!(!answer.reasoning.finished() && answer.reasoning.ids().len() == 4);
    assert_eq!(answer.path, format!("<thoughts>\n{}</thoughts>\n", answer.reasoning.text()));
    assert!(answer.answer.finished());
}

#[test]
fn what_does_not_fit_is_named() {
    let processor = processor();
    let heard = RefCell::default();
    let mut engine = saying(processor.tokenizer().clone(), "Yes.", &heard);
    let samples = [sample("s-1", "How many?")];
    let asked = asked(&samples);
    let mut agents = ReasonThenSummarise::new(&processor, &processor);
    let error = agents.summarise(&mut engine, &asked, &[]).unwrap_err();
    assert_eq!(error.to_string(), "0 paths for 1 samples");
    agents.prompts.summariser = "Answer {question}".into();
    let error = agents.answer(Engines::Shared(&mut engine), &asked).unwrap_err();
    assert_eq!(error.to_string(), "the summariser's prompt has no `{reasoning}`");
    agents.prompts = AgentPrompts { reasoner: "Think!".into(), ..AgentPrompts::default() };
    let error = agents.reason(&mut engine, &asked, 1).unwrap_err();
    assert!(matches!(error, Error::Template { role: Role::Reasoner, placeholder: "{question}" }), "{error}");
    assert!(heard.borrow().is_empty(), "nobody was asked");

    agents.prompts = AgentPrompts::default();
    let mut mean = Mean { inner: engine, groups: 0, completions: 1 };
    let error = agents.reason(&mut mean, &asked, 3).unwrap_err();
    assert_eq!(error.to_string(), "the reasoner's engine was asked for 3 completions and gave 2");
    mean = Mean { groups: 1, completions: 0, ..mean };
    let error = agents.summarise(&mut mean, &asked, &["a"]).unwrap_err();
    assert_eq!(error.to_string(), "the summariser's engine was asked for 1 groups and gave 0");
    agents.reasoner.sampling.top_p = 2.0;
    let error = agents.answer(Engines::Shared(&mut mean), &asked).unwrap_err().to_string();
    assert!(error.starts_with("sampling: top_p is 2"), "{error}");
}
