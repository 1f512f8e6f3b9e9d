//! Prompts of the checkpoint that vr1-processor's tests have, and what may be said after them.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use image::RgbImage;
use vr1_data::Picture;
use vr1_processor::{Layout, Message, Processor, Prompt, PromptRequest, Role, Tokenizer};
use vr1_rollout::{Finish, Request, SampleKey, Sampled, Sampling, Sequence, Version};

pub(crate) static PROCESSOR: LazyLock<Processor> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-processor/tests/fixtures/checkpoint");
    Processor::from_dir(&dir).unwrap()
});

pub(crate) fn tokenizer() -> Tokenizer {
    PROCESSOR.tokenizer().clone()
}

pub(crate) fn key(index: u64) -> SampleKey {
    SampleKey { dataset: 0, epoch: 0, index }
}

pub(crate) fn picture() -> Picture {
    RgbImage::new(56, 28).into()
}

pub(crate) fn asked(sample: &str, messages: &[Message]) -> Prompt {
    PROCESSOR.prompt(&PromptRequest { sample, messages, layout: Layout::Chat, prefill: "" }).unwrap()
}

/// A question without a picture.
pub(crate) fn prompt(sample: &str) -> Arc<Prompt> {
    asked(sample, &[Message::text(Role::User, "How many?")]).into()
}

pub(crate) fn empty(sample: &str) -> Prompt {
    let messages = [Message::text(Role::User, "")];
    PROCESSOR.prompt(&PromptRequest { sample, messages: &messages, layout: Layout::Raw, prefill: "" }).unwrap()
}

pub(crate) fn request(sample: &str, index: u64, completions: usize) -> Request {
    Request::new(prompt(sample), completions, Sampling::default(), key(index))
}

pub(crate) fn sampled(tokens: usize) -> Sampled {
    let logprobs = vec![-0.5; tokens];
    Sampled {
        drawn: vec![-0.25; tokens],
        entropies: vec![0.75; tokens],
        logprobs,
        version: Version(3),
        finish: Finish::Ended,
    }
}

pub(crate) fn completion(prompt: &Arc<Prompt>, ids: &[i64]) -> Sequence {
    Sequence::completion(prompt.clone(), ids, "said".into(), sampled(ids.len())).unwrap()
}
