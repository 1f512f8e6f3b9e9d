use std::fmt;

use vr1_data::Sample;
use vr1_processor::{Layout, Processor, Prompt, Specials};
use vr1_rollout::{Completion, Group, RolloutEngine, Sampling};

use crate::{AgentPrompts, Error, Result, Role, thoughts};

/// A model that is asked questions: what samples from it, and what makes its prompts.
#[derive(Clone, Copy)]
pub struct Agent<'a> {
    /// Samples its completions.
    pub engine: &'a dyn RolloutEngine,
    /// Makes its prompts and spells its ids.
    pub processor: &'a Processor,
}

impl fmt::Debug for Agent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("processor", &self.processor.tokenizer().origin()).finish_non_exhaustive()
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
/// Both agents see the sample's media. They may be the same model.
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
    /// How its tokens are picked.
    pub reasoner_sampling: Sampling,
    /// The one that answers.
    pub summariser: Agent<'a>,
    /// How its tokens are picked.
    pub summariser_sampling: Sampling,
    /// What they are told.
    pub prompts: AgentPrompts,
}

/// What the two agents said about a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoAgentAnswer {
    /// What the reasoner said, token by token.
    pub reasoning: Completion,
    /// The path of it that the summariser was shown.
    pub path: String,
    /// What the summariser said: the answer.
    pub answer: Completion,
}

impl<'a> ReasonThenSummarise<'a> {
    /// Two agents with Insight-V's prompts and sampling: temperature 0.2, top-p 0.95, 1024 tokens of reasoning and 4096 of
    /// answer (`infer_two_models.py`; VLMEvalKit has 0.7 and 16384, then 0.2 and 512).
    pub fn new(reasoner: Agent<'a>, summariser: Agent<'a>) -> Self {
        let sampling = Sampling { temperature: 0.2, top_p: 0.95, max_completion_tokens: 1024, ..Sampling::default() };
        Self {
            reasoner,
            reasoner_sampling: sampling.clone(),
            summariser,
            summariser_sampling: Sampling { max_completion_tokens: 4096, ..sampling },
            prompts: AgentPrompts::default(),
        }
    }

    /// Answers samples, all of them at once: first every reasoning, then every answer.
    ///
    /// # Errors
    /// If a template lacks a placeholder, a prompt cannot be made, or an engine fails.
    pub fn answer(&self, samples: &[Sample]) -> Result<Vec<TwoAgentAnswer>> {
        let reasoning = self.reason(samples, 1)?.into_iter().flat_map(|group| group.completions);
        let said: Vec<(Completion, String)> =
            reasoning.map(|c| self.path(&c).map(|path| (c, path))).collect::<Result<_>>()?;
        let paths: Vec<&str> = said.iter().map(|(_, path)| path.as_str()).collect();
        let answers = self.summarise(samples, &paths)?.into_iter().flat_map(|group| group.completions);
        let joined = said.into_iter().zip(answers);
        Ok(joined.map(|((reasoning, path), answer)| TwoAgentAnswer { reasoning, path, answer }).collect())
    }

    /// Samples `count` paths of reasoning about each sample: what preferences and the summariser's data are made of.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn reason(&self, samples: &[Sample], count: usize) -> Result<Vec<Group>> {
        self.prompts.validate()?;
        let words = samples.iter().map(|sample| (sample, self.prompts.for_reasoner(&sample.question)));
        ask(Role::Reasoner, &self.reasoner, words, count, &self.reasoner_sampling)
    }

    /// Asks the summariser about samples with one path of reasoning each, wherever it came from.
    ///
    /// # Errors
    /// As [`answer`](Self::answer), and if there are not as many paths as samples.
    pub fn summarise(&self, samples: &[Sample], paths: &[&str]) -> Result<Vec<Group>> {
        self.prompts.validate()?;
        if paths.len() != samples.len() {
            return Err(Error::Count { what: "paths", found: paths.len(), of: "samples", wanted: samples.len() });
        }
        let words = samples.iter().zip(paths).map(|(s, path)| (s, self.prompts.for_summariser(&s.question, path)));
        ask(Role::Summariser, &self.summariser, words, 1, &self.summariser_sampling)
    }

    /// What the summariser is shown of a reasoner's completion: [`thoughts`] of its text, special tokens kept, without
    /// the end of its turn.
    ///
    /// # Errors
    /// If an id is not in the reasoner's vocabulary.
    pub fn path(&self, reasoning: &Completion) -> Result<String> {
        let tokenizer = self.reasoner.processor.tokenizer();
        let ids = match reasoning.ids.split_last() {
            Some((last, before)) if tokenizer.eos().contains(last) => before,
            _ => &reasoning.ids,
        };
        Ok(thoughts(&tokenizer.decode(ids, Specials::Keep)?))
    }
}

/// Asks an agent about every sample, in one call.
fn ask<'s>(
    role: Role,
    agent: &Agent<'_>,
    words: impl Iterator<Item = (&'s Sample, String)>,
    count: usize,
    sampling: &Sampling,
) -> Result<Vec<Group>> {
    let prompts: Vec<Prompt> = words
        .map(|(sample, words)| agent.processor.sample(sample, &words, Layout::Chat, ""))
        .collect::<vr1_processor::Result<_>>()?;
    let wanted = prompts.len();
    let groups = agent.engine.generate(prompts, count, sampling)?;
    if groups.len() != wanted {
        return Err(Error::Engine { role, what: "groups", wanted, found: groups.len() });
    }
    match groups.iter().find(|group| group.completions.len() != count) {
        Some(group) => Err(Error::Engine { role, what: "completions", wanted: count, found: group.completions.len() }),
        None => Ok(groups),
    }
}
