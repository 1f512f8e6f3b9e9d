use std::sync::Arc;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use vr1_processor::Voice;
use vr1_rollout::{Group, SampleKey, Sequence};

use crate::question::{Asked, Question};
use crate::{print_json, say};

#[derive(Args)]
pub(crate) struct Logprobs {
    #[command(flatten)]
    question: Question,
    /// The answer whose tokens are judged.
    #[arg(long, value_name = "TEXT")]
    completion: String,
    /// Print ids and log-probabilities to stdout as a line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    prompt_ids: &'a [i64],
    completion_ids: &'a [i64],
    logprobs: &'a [f32],
}

impl Logprobs {
    pub(crate) fn run(self) -> Result<()> {
        let mut ids = Vec::new();
        let Asked { model, processor, prompt, .. } = self.question.ask(|processor| {
            ids = processor.tokenizer().encode_words(&self.completion, Voice::Model)?;
            ensure!(!ids.is_empty(), "--completion: there is not one token in it");
            Ok(ids.len())
        })?;
        let prompt = Arc::new(prompt);
        let (tail, trained) = (prompt.tail(&ids, &self.completion)?, vec![true; ids.len()]);
        let sequence = Sequence::new(prompt.clone(), tail, trained, self.completion)?;
        let groups = [Group::new(SampleKey::default(), vec![sequence])?];
        // The way a training step takes: the prompt once, its completion behind it.
        let logprobs = vr1_learn::logprobs(model.as_ref(), &groups, 1.0)?.concat();

        if self.json {
            return print_json(&Output { prompt_ids: prompt.input_ids(), completion_ids: &ids, logprobs: &logprobs });
        }
        for (id, logprob) in ids.iter().zip(&logprobs) {
            say(format_args!("{logprob:>10.4}  {}", processor.tokenizer().token(*id).unwrap_or_default()));
        }
        say(format_args!("{:>10.4}  in all", logprobs.iter().sum::<f32>()));
        Ok(())
    }
}
