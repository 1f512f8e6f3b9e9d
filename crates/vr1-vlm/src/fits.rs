use vr1_processor::{Processor, Prompt};

use crate::{Error, Model, Result};

impl Model {
    /// Checks that this model takes what `processor` makes: ids within its vocabulary, and pictures cut as its vision
    /// tower has them.
    ///
    /// # Errors
    /// If it does not; the settings on both sides are named.
    pub fn fits(&self, processor: &Processor) -> Result<()> {
        let config = self.config();
        let (ids, rows) = (processor.tokenizer().vocab_size(), config.text.ids());
        if ids as i64 > rows {
            return misfit(format!("{ids} ids in the tokenizer"), format!("`vocab_size` {rows}"));
        }
        let Some(images) = processor.images() else { return Ok(()) };
        let Some(vision) = &config.vision else {
            return misfit("settings for images".to_owned(), "no vision tower".to_owned());
        };
        let Some(cut) = vision.cut() else { return Ok(()) };
        for (key, here, there_key, there) in [
            ("patch_size", images.patch_size, "patch_size", cut.patch),
            ("temporal_patch_size", images.temporal_patch_size, "temporal_patch_size", cut.frames),
            ("merge_size", images.merge_size, "spatial_merge_size", cut.merge),
            ("channels", 3, "in_channels", cut.channels),
        ] {
            if here as i64 != there {
                return misfit(format!("`{key}` {here} for images"), format!("`vision_config.{there_key}` {there}"));
            }
        }
        Ok(())
    }

    /// The same of one prompt, by what is in it.
    pub(crate) fn check_prompt(&self, prompt: &Prompt) -> Result<()> {
        let (config, rows) = (self.config(), self.config().text.ids());
        if let Some(id) = prompt.input_ids().iter().find(|id| !(0..rows).contains(*id)) {
            return misfit(format!("the id {id} in `{}`", prompt.sample()), format!("`vocab_size` {rows}"));
        }
        let Some(vision) = &config.vision else {
            let (sample, pieces) = (prompt.sample(), prompt.patches().len());
            let shown = format!("media ({pieces}) in `{sample}`");
            return if pieces == 0 { Ok(()) } else { misfit(shown, "no vision tower".to_owned()) };
        };
        for (patches, span) in prompt.patches().iter().zip(prompt.media()) {
            let (rows, width) = patches.pixel_values.dim();
            let of = format!("{} tokens, {rows} patches of {width} values in `{}`", span.range.len(), prompt.sample());
            if vision.tokens(patches) != Some(span.range.len()) {
                return misfit(of, vision.wants());
            }
        }
        Ok(())
    }
}

fn misfit(processor: String, model: String) -> Result<()> {
    Err(Error::Misfit { processor, model })
}
