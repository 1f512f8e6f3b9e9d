//! Reasoner and summariser: with scripted engines, and with a random Qwen2-VL that transformers wrote.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tch::{Device, Kind};
use vr1_agent::{Agent, AgentPrompts, Error, ReasonThenSummarise, Role, thoughts};
use vr1_data::{Media, Picture, Sample};
use vr1_processor::{Processor, Prompt, Specials, Tokenizer};
use vr1_rollout::{Completion, Group, LocalEngine, RolloutEngine, Sampling};
use vr1_vlm::Model;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-vlm/tests/fixtures")
}

fn processor() -> Processor {
    Processor::from_dir(&fixtures().join("../../../vr1-processor/tests/fixtures/checkpoint")).unwrap()
}

fn sample(id: &str, question: &str) -> Sample {
    let pixels = image::RgbImage::from_fn(56, 56, |x, y| image::Rgb([x as u8 * 4, y as u8 * 4, 90]));
    let media = vec![Media::Image(Picture::Pixels(Arc::new(pixels)))];
    Sample { id: id.into(), media, question: question.into(), solution: "4".into(), ..Sample::default() }
}

/// Says the same thing every time, and remembers what it was asked.
struct Scripted<'a> {
    tokenizer: &'a Tokenizer,
    says: &'a str,
    /// Completions it gives fewer than it was asked for.
    withheld: usize,
    asked: RefCell<Vec<(Prompt, Sampling)>>,
}

impl<'a> Scripted<'a> {
    fn new(tokenizer: &'a Tokenizer, says: &'a str) -> Self {
        Self { tokenizer, says, withheld: 0, asked: RefCell::default() }
    }
}

impl RolloutEngine for Scripted<'_> {
    fn generate(&self, prompts: Vec<Prompt>, count: usize, sampling: &Sampling) -> vr1_rollout::Result<Vec<Group>> {
        let mut ids = self.tokenizer.encode_words(self.says)?;
        ids.push(self.tokenizer.im_end().unwrap());
        let logprobs = vec![-0.5; ids.len()];
        let text = self.tokenizer.decode(&ids, Specials::Skip)?;
        let completion = Completion { ids, logprobs, text, finished: true };
        let completions = vec![completion; count - self.withheld];
        self.asked.borrow_mut().extend(prompts.iter().map(|prompt| (prompt.clone(), sampling.clone())));
        Ok(prompts.into_iter().map(|prompt| Group { prompt, completions: completions.clone() }).collect())
    }
}

#[test]
fn the_summariser_sees_media_question_and_the_reasoners_path() {
    let processor = processor();
    let reasoner = Scripted::new(processor.tokenizer(), "Well. <thoughts>\nCount: 2 and 2.\n</thoughts> So 5.");
    let summariser = Scripted::new(processor.tokenizer(), "It is 4.");
    let agents = ReasonThenSummarise::new(
        Agent { engine: &reasoner, processor: &processor },
        Agent { engine: &summariser, processor: &processor },
    );
    let samples = [sample("s-1", "How many cubes?"), sample("s-2", "What is {reasoning}?")];
    let answers = agents.answer(&samples).unwrap();

    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0].reasoning.text, "Well. <thoughts>\nCount: 2 and 2.\n</thoughts> So 5.");
    assert_eq!(answers[0].path, "<thoughts>\n\nCount: 2 and 2.\n</thoughts>\n");
    assert_eq!(answers[0].answer.text, "It is 4.");

    let (first, second) = (reasoner.asked.borrow(), summariser.asked.borrow());
    let asked = "How many cubes?\n\nPerform step-by-step reasoning of the problem. Only provide the reasoning process.";
    assert!(first[0].0.text().contains(asked), "{}", first[0].0.text());
    assert_eq!((first[0].1.temperature, first[0].1.top_p, first[0].1.max_completion_tokens), (0.2, 0.95, 1024));
    let shown = "QUESTION: How many cubes?\n\nREASON PROCESS: <thoughts>\n\nCount: 2 and 2.\n</thoughts>\n";
    assert!(second[0].0.text().contains(shown), "{}", second[0].0.text());
    assert_eq!(second[0].1.max_completion_tokens, 4096);
    // What stands in a placeholder's place is not searched for placeholders.
    let shown = "QUESTION: What is {reasoning}?\n\nREASON PROCESS: <thoughts>\n\nCount: 2 and 2.\n</thoughts>\n";
    assert!(second[1].0.text().contains(shown), "{}", second[1].0.text());
    // Both see the picture: 56 pixels are four patches of 14, two merged ones.
    for (prompt, _) in first.iter().chain(&*second) {
        assert_eq!(prompt.media().len(), 1);
        assert_eq!(prompt.media()[0].grid, [1, 2, 2]);
    }
    assert_eq!((first[1].0.sample(), second[1].0.sample()), ("s-2", "s-2"));
}

#[test]
fn random_models_reason_and_answer() {
    let processor = processor();
    let model = Model::load(&fixtures().join("model"), Device::Cpu, Kind::Float).unwrap();
    let engine = LocalEngine::new(&model, processor.tokenizer());
    let agent = Agent { engine: &engine, processor: &processor };
    let sampling = |seed| Sampling { temperature: 1.0, max_completion_tokens: 6, seed, ..Sampling::default() };
    let mut agents = ReasonThenSummarise {
        reasoner_sampling: sampling(1),
        summariser_sampling: sampling(2),
        ..ReasonThenSummarise::new(agent, agent)
    };
    let samples = [sample("s-1", "How many cubes?"), sample("s-2", "Which is larger?")];
    let answers = agents.answer(&samples).unwrap();
    assert_eq!(answers.len(), 2);
    for answer in &answers {
        for completion in [&answer.reasoning, &answer.answer] {
            assert!((1..=6).contains(&completion.ids.len()));
            assert!(completion.logprobs.iter().all(|x| x.is_finite() && *x <= 0.0));
        }
    }
    // The answer hangs on the reasoning: with another path the same summariser says something else.
    let other = agents.summarise(&samples, &["<thoughts>\nNo.</thoughts>\n"; 2]).unwrap();
    assert_ne!(other[0].completions[0].ids, answers[0].answer.ids);
    // And with the same path the same.
    let paths: Vec<&str> = answers.iter().map(|answer| answer.path.as_str()).collect();
    let again = agents.summarise(&samples, &paths).unwrap();
    assert_eq!(again[0].completions[0].ids, answers[0].answer.ids);
    // Several paths of one sample differ, and the first is the one an answer was built on.
    agents.reasoner_sampling.max_completion_tokens = 6;
    let groups = agents.reason(&samples, 3).unwrap();
    assert_eq!(groups[0].completions[0].ids, answers[0].reasoning.ids);
    assert_ne!(groups[0].completions[0].ids, groups[0].completions[1].ids);
}

#[test]
fn the_path_is_what_stands_between_the_last_thoughts() {
    assert_eq!(thoughts("<thoughts>a</thoughts><thoughts>b</thoughts>c</thoughts>"), "<thoughts>\nb</thoughts>\n");
    assert_eq!(thoughts("a</thoughts>b"), "<thoughts>\na</thoughts>\n");
    assert_eq!(thoughts(""), "<thoughts>\n</thoughts>\n");
}

#[test]
fn what_does_not_fit_is_named() {
    let processor = processor();
    let mut engine = Scripted::new(processor.tokenizer(), "Yes.");
    let samples = [sample("s-1", "How many?")];
    {
        let agent = Agent { engine: &engine, processor: &processor };
        let mut agents = ReasonThenSummarise::new(agent, agent);
        let error = agents.summarise(&samples, &[]).unwrap_err();
        assert_eq!(error.to_string(), "0 paths for 1 samples");
        agents.prompts.summariser = "Answer {question}".into();
        let error = agents.answer(&samples).unwrap_err();
        assert_eq!(error.to_string(), "the summariser's prompt has no `{reasoning}`");
        agents.prompts = AgentPrompts { reasoner: "Think!".into(), ..AgentPrompts::default() };
        let error = agents.reason(&samples, 1).unwrap_err();
        assert!(matches!(error, Error::Template { role: Role::Reasoner, placeholder: "{question}" }), "{error}");
        assert!(engine.asked.borrow().is_empty());
    }
    engine.withheld = 1;
    let agent = Agent { engine: &engine, processor: &processor };
    let error = ReasonThenSummarise::new(agent, agent).answer(&samples).unwrap_err();
    assert_eq!(error.to_string(), "the reasoner's engine was asked for 1 completions and gave 0");
}
