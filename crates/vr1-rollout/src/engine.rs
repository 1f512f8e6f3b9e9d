use vr1_processor::Prompt;

use crate::{Group, Result, Sampling};

/// Something that completes prompts: the model in this process, or a server that holds a copy of it.
pub trait RolloutEngine {
    /// Samples `group_size` completions of each prompt, in the order of the prompts.
    ///
    /// # Errors
    /// If the settings are out of range or the engine fails.
    fn generate(&self, prompts: Vec<Prompt>, group_size: usize, sampling: &Sampling) -> Result<Vec<Group>>;
}
