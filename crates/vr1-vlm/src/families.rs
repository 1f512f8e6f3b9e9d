//! The model types that load. Another is a folder in vr1-llm or vr1-vision, and a line here.

use serde_json::{Map, Value};
use vr1_llm::{DecoderConfig, llama, mllama, qwen2, qwen2_multimodal};
use vr1_nn::{Names, Result};
use vr1_vision::{Sections, VisionConfig, mllama as mllama_vision, qwen2_5_vl, qwen2_vl};

use super::freeze::ModelPart;

/// Reads what a config says of a tower.
type ReadsTower = fn(&Sections<'_>) -> Result<Box<dyn VisionConfig>>;

/// What a `model_type` is made of.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) model_type: &'static str,
    /// The language model, from the keys of `text_config` or, in a flat file, of the top level.
    pub(crate) text: fn(&Map<String, Value>) -> Result<DecoderConfig>,
    /// The vision tower.
    pub(crate) vision: Option<ReadsTower>,
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

/// A tower whose features a projection brings to the language model's width.
const PROJECTED: &[ModelPart] =
    &[("tower", &["vision_model"], &[]), ("merger", &["multi_modal_projector"], &[]), LANGUAGE];

/// What both generations of Llama 3.2 Vision's files call its parts.
const MLLAMA: Names = Names::new(&[
    ["model.", "language_model.model.", "model.language_model."],
    ["lm_head.", "language_model.lm_head.", "lm_head."],
    ["vision_model.", "vision_model.", "model.vision_model."],
    ["multi_modal_projector", "multi_modal_projector", "model.multi_modal_projector"],
]);

/// Every one that there is.
pub(crate) const FAMILIES: [Family; 5] = [
    Family { model_type: "llama", text: llama, vision: None, names: Names::LANGUAGE, parts: WORDS },
    Family { model_type: "mllama", text: mllama, vision: Some(mllama_vision), names: MLLAMA, parts: PROJECTED },
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
