use vr1_processor::Prompt;

/// One sampled answer. The ids are what was sampled; text is made from them and never the other way round.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The sampled ids, the end-of-sequence id included when it was sampled.
    pub ids: Vec<i64>,
    /// The log-probability of each id under the model that sampled it, at temperature 1.
    pub logprobs: Vec<f32>,
    /// The ids as text, special tokens left out.
    pub text: String,
    /// Whether it ended by itself, and not because there was no more room.
    pub finished: bool,
}

/// A prompt and its completions.
#[derive(Debug)]
pub struct Group {
    /// The prompt.
    pub prompt: Prompt,
    /// Its `G` completions.
    pub completions: Vec<Completion>,
}
