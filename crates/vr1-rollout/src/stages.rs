use vr1_data::{Sample, Turn};
use vr1_processor::{Layout, Message, Processor, PromptRequest, Role};

use crate::{Beam, Completion, LocalEngine, Result, beam_search};

/// What the model said at one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageAnswer {
    /// The stage: `summary`, `caption`, `reasoning` or `conclusion`, say.
    pub name: String,
    /// The answer that goes into the next stage's prompt, token by token as it was found.
    pub completion: Completion,
}

/// Answers a sample in stages: each of its turns is asked in one conversation about its media, and the best answer that
/// beam search finds is what the next turn follows.
///
/// This is the inference of LlamaV-o1 ([arXiv:2501.06186](https://arxiv.org/abs/2501.06186), section 4.3): one search a
/// stage, whatever the number of beams. The answers in `sample.turns` are not looked at.
///
/// # Errors
/// If a prompt cannot be made or the settings are out of range.
pub fn answer_in_stages(
    engine: &LocalEngine<'_>,
    processor: &Processor,
    sample: &Sample,
    beam: &Beam,
) -> Result<Vec<StageAnswer>> {
    let mut answers: Vec<StageAnswer> = Vec::with_capacity(sample.turns.len());
    let mut prompt = None;
    for Turn { name, prompt: words, .. } in &sample.turns {
        let next = match (prompt.take(), answers.last()) {
            (Some(before), Some(last)) => {
                let messages = [Message::text(Role::User, words)];
                let request =
                    PromptRequest { sample: &sample.id, messages: &messages, layout: Layout::Chat, prefill: "" };
                processor.next_turn(&before, &last.completion.ids, &request)?
            }
            _ => processor.sample(sample, words, Layout::Chat, "")?,
        };
        let completion = beam_search(engine, &next, beam)?;
        answers.push(StageAnswer { name: name.clone(), completion });
        prompt = Some(next);
    }
    Ok(answers)
}
