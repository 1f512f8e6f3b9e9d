use rayon::prelude::*;
use vr1_data::Sample;
use vr1_processor::{Processor, Prompt};

use crate::{PromptConfig, Result, Template};

/// A prompt template at work.
pub(crate) struct Prompting {
    config: PromptConfig,
    text: Template,
}

impl Prompting {
    pub(crate) fn new(config: &PromptConfig) -> Result<Self> {
        Ok(Self { text: Template::new(&config.text)?, config: config.clone() })
    }

    /// Samples to prompts of at most `limit` tokens, side by side.
    pub(crate) fn prompts(&self, samples: &[&Sample], processor: &Processor, limit: usize) -> Result<Vec<Prompt>> {
        let prompt = |sample: &&Sample| {
            let said = self.text.ask(sample)?;
            let prompt = processor.said(sample, &said, self.config.layout, &self.config.prefill)?;
            prompt.check_fits(limit)?;
            Ok(prompt)
        };
        samples.par_iter().map(prompt).collect()
    }
}
