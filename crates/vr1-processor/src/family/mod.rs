//! What families of models call their media, and what each makes of pictures and videos. Another is a file and a line here.

mod aria;
mod idefics3;
mod llava;
mod llava_next;
mod mllama;
mod qwen2_vl;
mod qwen3_vl;

use std::sync::Arc;

use crate::Result;
use crate::files::Files;
use crate::media::Shows;

pub(crate) use qwen2_vl::Patched;

/// Where the tokens go that a tokenizer puts before a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// Before a raw text; before a chat where the template puts them.
    ByTemplate,
    /// Before every text that does not begin with one of its own.
    Always,
    /// Behind the pictures that a raw text begins with; before a chat where the template puts them.
    BehindPictures,
}

/// The token names of a family, and its way with pictures.
#[derive(Debug)]
pub(crate) struct Family {
    /// The `model_type`s of its checkpoints.
    model_types: &'static [&'static str],
    /// The `processor_class`es, for checkpoints that do not say their `model_type`.
    classes: &'static [&'static str],
    /// Stands where an image is, and for one token of it.
    pub(crate) image: &'static str,
    /// Stands where a video is; empty where none is taken.
    pub(crate) video: &'static str,
    /// Which of these two may be no token of the vocabulary; spelt in someone's words it is text all the same.
    pub(crate) spelt: &'static [&'static str],
    /// What stands before and after a piece of media in the raw layout.
    pub(crate) around: [&'static str; 2],
    /// What the model is shown and never says.
    pub(crate) unsaid: &'static [&'static str],
    /// What begins a text or says who speaks.
    pub(crate) roles: &'static [&'static str],
    /// What ends a turn or a text.
    pub(crate) ends: &'static [&'static str],
    /// The keys of `config.json` that give ids, and the tokens that they must be the ids of.
    pub(crate) ids: &'static [(&'static str, &'static str)],
    /// Where a text begins.
    pub(crate) begins: Begins,
    /// The template of a chat that shows a video, where the checkpoint's own is not taken.
    pub(crate) video_template: Option<&'static str>,
    /// Reads what makes prompts of pictures.
    pub(crate) shows: fn(&Files<'_>) -> Result<Arc<dyn Shows>>,
}

/// What says who speaks in Llama 2 and 3 and in ChatML.
const ROLES: &[&str] = &["<s>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|im_start|>"];
/// What ends turns and texts there.
const ENDS: &[&str] = &["</s>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|endoftext|>"];

/// The families; what is not among them (a language model, a tokenizer without a model) is as the first.
static FAMILIES: [&Family; 10] = [
    &qwen2_vl::QWEN2_VL,
    &qwen2_vl::LLAMA,
    &qwen2_vl::QWEN2_5_VL,
    &qwen3_vl::FAMILY,
    &llava_next::FAMILY,
    &llava::FAMILY,
    &mllama::FAMILY,
    &idefics3::IDEFICS3,
    &idefics3::SMOLVLM,
    &aria::FAMILY,
];

impl Family {
    /// The family of a `model_type`, else of a `processor_class`.
    pub(crate) fn of(model_type: Option<&str>, class: Option<&str>) -> &'static Self {
        let named = |family: &&&Self| model_type.is_some_and(|name| family.model_types.contains(&name));
        let classed = |family: &&&Self| class.is_some_and(|class| family.classes.contains(&class));
        FAMILIES.iter().find(named).or(FAMILIES.iter().find(classed)).unwrap_or(&FAMILIES[0])
    }
}
