use std::sync::Arc;

use vr1_processor::Prompt;

use crate::{Error, Result, SampleKey, Sequence};

/// Sequences of one prompt: one is a document, two a pair, `G` what GRPO compares. Groups of a step may differ in size.
#[derive(Debug, Clone)]
pub struct Group {
    key: SampleKey,
    sequences: Vec<Sequence>,
}

impl Group {
    /// A group of sequences that share their prompt.
    ///
    /// # Errors
    /// If there is no sequence, or their prompts are not one and the same.
    pub fn new(key: SampleKey, sequences: Vec<Sequence>) -> Result<Self> {
        let wrong = |reason: &str| Err(Error::Group { key, reason: reason.into() });
        let Some(first) = sequences.first() else { return wrong("it has no sequence") };
        if sequences.iter().any(|sequence| !Arc::ptr_eq(sequence.prompt(), first.prompt())) {
            return wrong("its sequences do not share one prompt");
        }
        Ok(Self { key, sequences })
    }

    /// What it was drawn from.
    pub fn key(&self) -> SampleKey {
        self.key
    }

    /// The prompt that all sequences share.
    pub fn prompt(&self) -> &Arc<Prompt> {
        self.sequences[0].prompt() // there is one
    }

    /// The sequences, one or more.
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// How many sequences there are.
    pub fn size(&self) -> usize {
        self.sequences.len()
    }

    /// The sequences themselves.
    pub fn into_sequences(self) -> Vec<Sequence> {
        self.sequences
    }
}
