use vr1_data::{Said, Sample, Turn};
use vr1_processor::{Layout, Message, Processor, PromptRequest};

use crate::{Engine, Request, Result, SampleKey, Sampling, Search, Sequence};

/// What the model said at one stage.
#[derive(Debug, Clone)]
pub struct StageAnswer {
    /// The stage: `summary`, `caption`, `reasoning` or `conclusion`, say.
    pub name: String,
    /// The answer that goes into the next stage's prompt, token by token as it was found.
    pub answer: Sequence,
}

/// Answers a sample in stages: each of its turns is asked in one conversation about its media, and the best answer that
/// `search` finds is what the next turn follows.
///
/// A stage draws by the seed that is its number above the sampling's: with one seed all would draw the same numbers.
///
/// This is the inference of LlamaV-o1 ([arXiv:2501.06186](https://arxiv.org/abs/2501.06186), section 4.3): one search a
/// stage, whatever the number of beams. The answers in `sample.turns` are not looked at.
///
/// # Errors
/// If a prompt cannot be made, the settings are out of range, or the engine fails.
pub fn answer_in_stages(
    engine: &mut dyn Engine,
    processor: &Processor,
    sample: &Sample,
    key: SampleKey,
    (sampling, search): (&Sampling, Search),
) -> Result<Vec<StageAnswer>> {
    let mut answers: Vec<StageAnswer> = Vec::with_capacity(sample.turns.len());
    let asked = Said::turns(sample, &Vec::from_iter(0..sample.turns.len()));
    for (stage, (Turn { name, .. }, said)) in sample.turns.iter().zip(&asked).enumerate() {
        let prompt = match answers.last() {
            Some(StageAnswer { answer, .. }) => {
                let messages = [Message::said(said, sample)];
                let request =
                    PromptRequest { sample: &sample.id, messages: &messages, layout: Layout::Chat, prefill: "" };
                processor.next_turn(answer.prompt(), answer.ids(), &request)?
            }
            None => processor.said(sample, said, Layout::Chat, "")?,
        };
        let sampling = Sampling { seed: sampling.seed.wrapping_add(stage as u64), ..sampling.clone() };
        let request = Request { search, ..Request::new(prompt, 1, sampling, key) };
        for group in engine.generate(vec![request])? {
            answers.extend(group.into_sequences().into_iter().map(|answer| StageAnswer { name: name.clone(), answer }));
        }
    }
    Ok(answers)
}
