//! The model types that load. Another is a folder in vr1-llm or vr1-vision, and a line here.

use serde_json::{Map, Value};
use vr1_llm::{DecoderConfig, llama, qwen2, qwen2_multimodal};
use vr1_nn::{Names, Result};
use vr1_vision::{Sections, VisionConfig, qwen2_5_vl, qwen2_vl};

use super::freeze::ModelPart;

/// What a `model_type` is made of.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) model_type: &'static str,
    /// The language model, from the keys of `text_config` or, in a flat file, of the top level.
    pub(crate) text: fn(&Map<String, Value>) -> Result<DecoderConfig>,
    /// The vision tower.
    pub(crate) vision: Option<fn(&Sections<'_>) -> Result<Box<dyn VisionConfig>>>,
    /// What its files call its parameters.
    pub(crate) names: Names,
    /// What settings call its parts.
    pub(crate) parts: &'static [ModelPart],
}

const LANGUAGE: ModelPart = ("language", &["model", "lm_head"], &[]);
/// A language model alone.
const WORDS: &[ModelPart] = &[LANGUAGE];
/// One with a tower whose features a merger brings to its width.
const MERGED: &[ModelPart] =
    &[("tower", &["visual"], &["visual.merger"]), ("merger", &["visual.merger"], &[]), LANGUAGE];

/// What both generations of Qwen's files call its parts.
const QWEN_VL: Names = Names::new(&[
    ["model.", "model.", "model.language_model."],
    ["visual.", "visual.", "model.visual."],
    ["lm_head.", "lm_head.", "lm_head."],
]);

/// Every one that there is.
pub(crate) const FAMILIES: [Family; 4] = [
    Family { model_type: "llama", text: llama, vision: None, names: Names::LANGUAGE, parts: WORDS },
    Family { model_type: "qwen2", text: qwen2, vision: None, names: Names::LANGUAGE, parts: WORDS },
    Family { model_type: "qwen2_vl", text: qwen2_multimodal, vision: Some(qwen2_vl), names: QWEN_VL, parts: MERGED },
    Family {
        model_type: "qwen2_5_vl",
        text: qwen2_multimodal,
        vision: Some(qwen2_5_vl),
        names: QWEN_VL,
        parts: MERGED,
    },
];
