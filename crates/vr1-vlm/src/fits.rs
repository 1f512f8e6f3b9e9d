use crate::{Error, Model, Processor, Result};

impl Model {
    /// Checks that this model takes what `processor` makes: ids within its vocabulary, and pictures cut as its vision
    /// tower has them.
    ///
    /// # Errors
    /// If it does not; the settings on both sides are named.
    pub fn check(&self, processor: &Processor) -> Result<()> {
        let config = self.config();
        let misfit = |processor: String, model: String| Err(Error::Misfit { processor, model });
        let (ids, rows) = (processor.tokenizer().vocab_size(), config.text.vocab_size);
        if ids as i64 > rows {
            return misfit(format!("{ids} ids in the tokenizer"), format!("`vocab_size` {rows}"));
        }
        let Some(images) = processor.images() else { return Ok(()) };
        let Some(vision) = &config.vision else {
            return misfit("settings for images".to_owned(), "no vision tower".to_owned());
        };
        let cut = vision.cut();
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
}
