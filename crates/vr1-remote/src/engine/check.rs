//! What is checked of every answer before it is one.

use serde_json::Value;
use vr1_processor::Tokenizer;
use vr1_rollout::Finish;

use super::job::{Completion, Job};
use super::server::Server;
use crate::wire::told;
use crate::{Error, Result};

/// How many ids are shown around the first that differs.
const SHOWN: usize = 8;

/// What vLLM writes for −∞, which JSON cannot say.
const NEVER: f32 = -9999.0;

/// An answer to a job, on its way to be believed.
pub(crate) struct Checking<'a> {
    pub(crate) server: &'a Server,
    pub(crate) job: &'a Job,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) said: &'a Value,
}

impl Checking<'_> {
    pub(crate) fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::Answer {
            server: self.server.name.clone(),
            sample: self.job.sample().to_owned(),
            reason: reason.into(),
            said: told(self.said.to_string().as_bytes()),
        }
    }

    /// The server's prompt is ours.
    pub(crate) fn prompt(&self, theirs: &Value) -> Result<()> {
        let ours = self.job.request.prompt.input_ids();
        let theirs = self.ids(theirs, "the prompt's ids")?;
        if ours == theirs {
            return Ok(());
        }
        let place = ours.iter().zip(&theirs).position(|(a, b)| a != b).unwrap_or(ours.len().min(theirs.len()));
        let shown = |ids: &[i64]| ids[place.saturating_sub(2)..(place + SHOWN).min(ids.len())].to_vec();
        Err(Error::PromptIds {
            server: self.server.name.clone(),
            sample: self.job.sample().to_owned(),
            place,
            lengths: [ours.len(), theirs.len()],
            ours: shown(ours),
            theirs: shown(&theirs),
        })
    }

    /// A list of ids.
    pub(crate) fn ids(&self, list: &Value, what: &str) -> Result<Vec<i64>> {
        let ids = list.as_array().and_then(|list| list.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>());
        ids.ok_or_else(|| self.wrong(format!("{what} should be a list of token ids, and are {}", short(list))))
    }

    /// A list of log-probabilities.
    pub(crate) fn logprobs<'v>(&self, list: impl Iterator<Item = &'v Value>) -> Result<Vec<f32>> {
        let one = |(place, value): (usize, &Value)| match value.as_f64().map(|value| value as f32) {
            Some(value) if value <= NEVER => Ok(f32::NEG_INFINITY),
            // Rounding may leave a certain token a little above 0.
            Some(value) if value <= 1e-3 => Ok(value.min(0.0)),
            _ => Err(self.wrong(format!("the log-probability of token {place} is {}, which is none", short(value)))),
        };
        list.enumerate().map(one).collect()
    }

    /// A completion as it is to be: as many log-probabilities as tokens, no more of those than asked, and an end where it says so.
    pub(crate) fn completion(&self, ids: Vec<i64>, logprobs: Vec<f32>, reason: &str) -> Result<Completion> {
        let most = self.job.request.sampling.max_completion_tokens;
        let ended = ids.last().is_some_and(|id| self.tokenizer.eos().contains(id));
        if ids.len() != logprobs.len() {
            let counts = format!("{} log-probabilities for {} tokens", logprobs.len(), ids.len());
            return Err(self.wrong(counts));
        }
        if ids.is_empty() || ids.len() > most {
            return Err(self.wrong(format!("{} tokens, where 1 to {most} were asked for", ids.len())));
        }
        let finish = match reason {
            "stop" if ended => Finish::Ended,
            "length" if ended => Finish::Ended, // the last that there was room for
            "length" if ids.len() == most => Finish::Length,
            "length" => {
                let count = ids.len();
                let reason = format!("it left off at {count} tokens of {most}: the server's context is too short");
                return Err(self.wrong(reason));
            }
            "stop" => {
                let (last, ends) = (ids[ids.len() - 1], self.tokenizer.eos());
                return Err(self.wrong(format!("it stopped at token {last}, and an answer ends with one of {ends:?}")));
            }
            other => return Err(self.wrong(format!("it finished for the reason {other:?}"))),
        };
        Ok(Completion { ids, logprobs, finish })
    }

    /// As many choices as were asked for.
    pub(crate) fn count(&self, given: usize, wanted: usize) -> Result<()> {
        match given == wanted {
            true => Ok(()),
            false => Err(self.wrong(format!("{given} completions, where {wanted} were asked for"))),
        }
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}
