use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use vr1_decode::LocalEngine;
use vr1_rollout::{Engine, GenerationConfig, Request, SampleKey, Sampling, Search, Sequence};

use crate::question::{Asked, Question};
use crate::{print_json, say};

#[derive(Args)]
pub(crate) struct Generate {
    #[command(flatten)]
    question: Question,
    /// The longest completion, in tokens.
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_new_tokens: usize,
    /// Divides the logits; 0 picks the most likely token.
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f64,
    /// Only this many most likely tokens can be picked; 0 is no limit. Like the next three, it is by default what the
    /// checkpoint's `generation_config.json` says, or else no limit.
    #[arg(long, value_name = "K")]
    top_k: Option<i64>,
    /// Only the fewest most likely tokens whose probabilities reach this sum can be picked; 1 is no limit.
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Only tokens at least this likely, relative to the most likely one, can be picked; 0 is no limit.
    #[arg(long, value_name = "P")]
    min_p: Option<f64>,
    /// Divides the positive logits of tokens that were there already and multiplies the negative ones; 1 is no penalty.
    #[arg(long, value_name = "R")]
    repetition_penalty: Option<f64>,
    /// Search with this many beams; with a temperature above 0 their successors are drawn at random.
    #[arg(long, value_name = "K", default_value_t = 1)]
    num_beams: usize,
    /// Of the random numbers.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Print ids, text and log-probabilities to stdout as a line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    prompt_ids: &'a [i64],
    completions: Vec<CompletionOutput<'a>>,
}

#[derive(Serialize)]
struct CompletionOutput<'a> {
    ids: &'a [i64],
    text: &'a str,
    logprobs: &'a [f32],
    finished: bool,
}

impl<'a> From<&'a Sequence> for CompletionOutput<'a> {
    fn from(sequence: &'a Sequence) -> Self {
        let logprobs = sequence.sampled().map_or(&[][..], |sampled| &sampled.logprobs);
        Self { ids: sequence.ids(), text: sequence.text(), logprobs, finished: sequence.finished() }
    }
}

impl Generate {
    pub(crate) fn run(self) -> Result<()> {
        ensure!(self.num_beams > 0, "--num-beams is 0, and must be 1 or more");
        let asked = GenerationConfig {
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
        };
        let free = Sampling {
            temperature: self.temperature,
            max_completion_tokens: self.max_new_tokens,
            seed: self.seed,
            ..Sampling::default()
        };
        asked.over(free.clone()).validate()?;

        let Asked { dir, model, processor, prompt } = self.question.ask(|_| Ok(self.max_new_tokens))?;
        let sampling = asked.over(GenerationConfig::from_dir(&dir)?.over(free));
        let search = match self.num_beams {
            1 => Search::Draw,
            beams => Search::Beam { beams, length_penalty: 1.0 },
        };
        let mut engine = LocalEngine::new(model, processor.tokenizer().clone())?;
        let request = Request { search, ..Request::new(prompt, 1, sampling, SampleKey::default()) };
        let groups = engine.generate(vec![request])?;
        let prompt_ids = groups.first().map_or(&[][..], |group| group.prompt().input_ids());
        let completions: Vec<&Sequence> = groups.iter().flat_map(|group| group.sequences()).collect();
        if self.json {
            let completions = completions.into_iter().map(CompletionOutput::from).collect();
            return print_json(&Output { prompt_ids, completions });
        }
        completions.iter().for_each(|completion| say(completion.text()));
        Ok(())
    }
}
