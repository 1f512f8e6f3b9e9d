//! Whether weights that were handed over are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use image::RgbImage;
use vr1_learn::Learner;
use vr1_processor::{Layout, Message, Processor, Prompt, PromptRequest, Role};
use vr1_rollout::{Engine, Group, Request, SampleKey, Sampling, Sequence, Version};

use crate::{Error, Result};

/// Tokens that are compared.
const TOKENS: usize = 16;

/// The least that the trainer's own log-probabilities move, in nats a token, where weights are others: above what f32 rounds.
const MOVED: f64 = 1e-5;

/// A test prompt that copies of the model elsewhere answer after each push: the trainer scores what they answered, and the two are compared.
#[derive(Default)]
pub(crate) struct Canary {
    prompt: Option<Arc<Prompt>>,
    /// What each copy answered to the last push, and what the trainer thought of it then.
    before: BTreeMap<String, Heard>,
}

struct Heard {
    answer: Sequence,
    own: Vec<f32>,
}

impl Canary {
    /// Compares; the largest mean difference over the copies, where there are any.
    pub(crate) fn check(
        &mut self,
        engine: &mut dyn Engine,
        learner: &Learner,
        processor: &Processor,
        version: Version,
    ) -> Result<Option<f64>> {
        let Some(tolerance) = engine.tolerance() else { return Ok(None) };
        let room = learner.model().max_tokens().saturating_sub(TOKENS);
        let prompt = match &self.prompt {
            Some(prompt) => prompt.clone(),
            None => self.prompt.insert(Arc::new(test_prompt(processor, room)?)).clone(),
        };
        let sampling = Sampling { max_completion_tokens: TOKENS, ..Sampling::default() };
        let request = Request::new(prompt, 1, sampling, SampleKey::default());
        let mut widest = None;
        for (server, answer) in engine.probe(&request)? {
            let own = own(learner, &answer)?;
            let gap = apart(&own, drawn(&answer));
            if let Some(Heard { answer: last, own: before }) = self.before.get(&server)
                && last.ids() == answer.ids()
                && drawn(last) == drawn(&answer)
            {
                let moved = apart(&own, before);
                if moved > MOVED {
                    return Err(Error::NotLanded { server, version: version.0, moved });
                }
            }
            if gap.is_nan() || gap > tolerance {
                return Err(Error::Canary { server, version: version.0, gap, tolerance });
            }
            widest = Some(gap.max(widest.unwrap_or(0.0)));
            self.before.insert(server, Heard { answer, own });
        }
        Ok(widest)
    }
}

fn drawn(answer: &Sequence) -> &[f32] {
    answer.sampled().map(|sampled| sampled.drawn.as_slice()).unwrap_or_default()
}

fn own(learner: &Learner, answer: &Sequence) -> Result<Vec<f32>> {
    let group = Group::new(SampleKey::default(), vec![answer.clone()])?;
    Ok(learner.logprobs(&[group])?.pop().unwrap_or_default())
}

/// The mean difference, in nats a token.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / a.len().max(1) as f64
}

/// A picture and a question, as far as the model takes them.
fn test_prompt(processor: &Processor, room: usize) -> Result<Prompt> {
    let picture = || RgbImage::from_fn(64, 64, |x, y| image::Rgb([(4 * x) as u8, (4 * y) as u8, 128]));
    let shown = Message::user([Arc::new(picture())], "What is shown?");
    let asked = Message::text(Role::User, "What is shown?");
    let made = |message: &Message, layout| {
        let messages = std::slice::from_ref(message);
        let prompt = processor.prompt(&PromptRequest { sample: "test prompt", messages, layout, prefill: "" })?;
        prompt.check_fits(room).map(|()| prompt)
    };
    let first = made(&shown, Layout::Chat).or_else(|_| made(&asked, Layout::Chat));
    Ok(first.or_else(|_| made(&asked, Layout::Raw))?)
}
