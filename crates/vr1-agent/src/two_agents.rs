use std::convert::Infallible;
use std::fmt;

use vr1_data::{Said, Sample};
use vr1_processor::{Layout, Processor, Specials};
use vr1_rollout::{Engine, Group, Request, SampleKey, Sampling, Sequence};

use crate::{AgentPrompts, Error, Result, Role, thoughts};

/// A sample that is asked about, and what the randomness of answers about it hangs on.
pub type Asked<'s> = (SampleKey, &'s Sample);

/// A model as it is asked: what makes its prompts, and how its tokens are picked.
#[derive(Clone)]
pub struct Agent<'a> {
    /// Makes its prompts and spells its ids.
    pub processor: &'a Processor,
    /// How its tokens are picked.
    pub sampling: Sampling,
}

impl fmt::Debug for Agent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.processor.tokenizer().origin();
        f.debug_struct("Agent").field("processor", &origin).field("sampling", &self.sampling).finish()
    }
}

/// What samples the agents' completions.
pub enum Engines<'e> {
    /// Both are the same model.
    Shared(&'e mut dyn Engine),
    /// Each is a model of its own.
    Own {
        /// Samples the reasoning.
        reasoner: &'e mut dyn Engine,
        /// Samples the answers.
        summariser: &'e mut dyn Engine,
    },
}

impl Engines<'_> {
    fn of(&mut self, role: Role) -> &mut dyn Engine {
        match (self, role) {
            (Self::Shared(engine), _) => *engine,
            (Self::Own { reasoner, .. }, Role::Reasoner) => *reasoner,
            (Self::Own { summariser, .. }, Role::Summariser) => *summariser,
        }
    }
}

impl fmt::Debug for Engines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared(_) => "Shared",
            Self::Own { .. } => "Own",
        })
    }
}

/// One model reasons, another judges the reasoning and answers: the inference of Insight-V
/// ([arXiv:2411.14432](https://arxiv.org/abs/2411.14432), section 3).
///
/// ```text
/// r = reasoner(media, question),   answer = summariser(media, question, thoughts(r))
/// ```
///
/// The summariser was trained on flawed paths too, and is told to answer by itself where it finds the reasoning wrong.
/// Both agents see the sample's media. They may be the same model, and then draw other numbers all the same: the
/// summariser's seed is taken one higher than it says.
///
/// # Differences from the published script
/// - The media stand before all words of a turn, where Insight-V has its image between `QUESTION: ` and the question.
/// - `<thoughts>` in the summariser's prompt is text, as everything is that a model said; in Insight-V's vocabulary
///   it is a token.
/// - The system turn is the chat template's own.
#[derive(Debug, Clone)]
pub struct ReasonThenSummarise<'a> {
    /// The one that reasons.
    pub reasoner: Agent<'a>,
    /// The one that answers.
    pub summariser: Agent<'a>,
    /// What they are told.
    pub prompts: AgentPrompts,
}

/// What the two agents said about a sample.
#[derive(Debug, Clone)]
pub struct TwoAgentAnswer {
    /// What the reasoner said, token by token.
    pub reasoning: Sequence,
    /// The path of it that the summariser was shown.
    pub path: String,
    /// What the summariser said: the answer.
    pub answer: Sequence,
}

impl<'a> ReasonThenSummarise<'a> {
    /// Two agents with Insight-V's prompts and sampling: temperature 0.2, top-p 0.95, 1024 tokens of reasoning and 4096 of
    /// answer (`infer_two_models.py`; VLMEvalKit has 0.7 and 16384, then 0.2 and 512).
    pub fn new(reasoner: &'a Processor, summariser: &'a Processor) -> Self {
        let agent = |processor, max_completion_tokens| Agent {
            processor,
            sampling: Sampling { temperature: 0.2, top_p: 0.95, max_completion_tokens, ..Sampling::default() },
        };
        Self { reasoner: agent(reasoner, 1024), summariser: agent(summariser, 4096), prompts: AgentPrompts::default() }
    }

    /// Answers samples, all of them at once: first every reasoning, then every answer.
    ///
    /// # Errors
    /// If a template lacks a placeholder, a prompt cannot be made, or an engine fails.
    pub fn answer(&self, mut engines: Engines<'_>, samples: &[Asked<'_>]) -> Result<Vec<TwoAgentAnswer>> {
        let reasoning = sequences(self.reason(engines.of(Role::Reasoner), samples, 1)?);
        let paths = reasoning.iter().map(|said| self.path(said)).collect::<Result<Vec<String>>>()?;
        let shown: Vec<&str> = paths.iter().map(String::as_str).collect();
        let answers = sequences(self.summarise(engines.of(Role::Summariser), samples, &shown)?);
        let joined = reasoning.into_iter().zip(paths).zip(answers);
        Ok(joined.map(|((reasoning, path), answer)| TwoAgentAnswer { reasoning, path, answer }).collect())
    }

    /// Samples `count` paths of reasoning about each sample: what preferences and the summariser's data are made of.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn reason(&self, engine: &mut dyn Engine, samples: &[Asked<'_>], count: usize) -> Result<Vec<Group>> {
        self.prompts.validate()?;
        let said = |sample| asked(sample, |question| self.prompts.for_reasoner(question));
        let asked = samples.iter().map(|&(key, sample)| (key, sample, said(sample)));
        let requests = requests(&self.reasoner, asked, count, self.reasoner.sampling.seed)?;
        generate(Role::Reasoner, engine, requests, count)
    }

    /// Asks the summariser about samples with one path of reasoning each, wherever it came from.
    ///
    /// # Errors
    /// As [`answer`](Self::answer), and if there are not as many paths as samples.
    pub fn summarise(&self, engine: &mut dyn Engine, samples: &[Asked<'_>], paths: &[&str]) -> Result<Vec<Group>> {
        self.prompts.validate()?;
        if paths.len() != samples.len() {
            return Err(Error::Count { what: "paths", found: paths.len(), of: "samples", wanted: samples.len() });
        }
        let said = |sample, path| asked(sample, |question| self.prompts.for_summariser(question, path));
        let asked = samples.iter().zip(paths).map(|(&(key, sample), path)| (key, sample, said(sample, path)));
        let requests = requests(&self.summariser, asked, 1, self.summariser.sampling.seed.wrapping_add(1))?;
        generate(Role::Summariser, engine, requests, 1)
    }

    /// What the summariser is shown of what a reasoner said: [`thoughts`] of its text, special tokens kept, without the
    /// end of its turn.
    ///
    /// # Errors
    /// If an id is not in the reasoner's vocabulary.
    pub fn path(&self, reasoning: &Sequence) -> Result<String> {
        let tokenizer = self.reasoner.processor.tokenizer();
        let ids = match reasoning.ids().split_last() {
            Some((last, before)) if tokenizer.eos().contains(last) => before,
            _ => reasoning.ids(),
        };
        Ok(thoughts(&tokenizer.decode(ids, Specials::Keep)?))
    }
}

/// A sample's question in an agent's words, media in their places.
fn asked(sample: &Sample, words: impl FnOnce(&str) -> String) -> Said {
    let Ok(said) = Said::asking::<Infallible>(sample, |question| Ok(words(question)));
    said
}

/// An agent's requests, one a sample.
fn requests<'s>(
    agent: &Agent<'_>,
    asked: impl Iterator<Item = (SampleKey, &'s Sample, Said)>,
    count: usize,
    seed: u64,
) -> Result<Vec<Request>> {
    let request = |(key, sample, said): (SampleKey, &Sample, Said)| {
        let prompt = agent.processor.said(sample, &said, Layout::Chat, "")?;
        Ok(Request::new(prompt, count, Sampling { seed, ..agent.sampling.clone() }, key))
    };
    asked.map(request).collect()
}

/// What an engine gives, checked to be as much as it was asked for.
fn generate(role: Role, engine: &mut dyn Engine, requests: Vec<Request>, count: usize) -> Result<Vec<Group>> {
    let wanted = requests.len();
    let groups = engine.generate(requests)?;
    if groups.len() != wanted {
        return Err(Error::Engine { role, what: "groups", wanted, found: groups.len() });
    }
    match groups.iter().find(|group| group.size() != count) {
        Some(group) => Err(Error::Engine { role, what: "completions", wanted: count, found: group.size() }),
        None => Ok(groups),
    }
}

fn sequences(groups: Vec<Group>) -> Vec<Sequence> {
    groups.into_iter().flat_map(Group::into_sequences).collect()
}
