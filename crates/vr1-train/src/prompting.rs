use rayon::prelude::*;
use vr1_data::Sample;
use vr1_processor::{Processor, Prompt};

use crate::draw::Draw;
use crate::{PromptConfig, Result, Supply, Template};

/// A prompt template at work.
pub(crate) struct Prompting {
    config: PromptConfig,
    text: Template,
}

impl Prompting {
    pub(crate) fn new(config: &PromptConfig) -> Result<Self> {
        Ok(Self { text: Template::new(&config.text)?, config: config.clone() })
    }

    /// How long the prompts of the first samples are.
    pub(crate) fn supply(&self, draw: &Draw, processor: &Processor, count: usize) -> Supply {
        let mut supply = Supply { samples: draw.total(), ..Supply::default() };
        for drawn in draw.first(count) {
            let prompt = drawn.and_then(|drawn| self.prompts(&[&drawn.sample], processor, usize::MAX));
            supply.add(prompt.map(|prompts| (prompts.iter().map(Prompt::len).sum(), None)));
        }
        supply
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
