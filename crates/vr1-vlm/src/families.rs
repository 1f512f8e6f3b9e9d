//! The model types that load. Another is a folder in vr1-llm or vr1-vision, and a line here.

use serde_json::{Map, Value};
use vr1_llm::{DecoderConfig, llama, qwen2, qwen2_multimodal, qwen3, qwen3_moe, qwen3_moe_multimodal, qwen3_multimodal};
use vr1_nn::{Names, Result};
use vr1_vision::{Sections, VisionConfig, qwen2_5_vl, qwen2_vl, qwen3_vl};

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

/// One with a tower that has mergers for deeper layers too.
const DEEP: &[ModelPart] = &[
    ("tower", &["visual"], &["visual.merger", "visual.deepstack_merger_list"]),
    ("merger", &["visual.merger", "visual.deepstack_merger_list"], &[]),
    LANGUAGE,
];

/// What files of Qwen3-VL call its parts, published as today's.
const QWEN3_VL: Names = Names::new(&[
    ["model.", "model.language_model.", "model.language_model."],
    ["visual.", "model.visual.", "model.visual."],
    ["lm_head.", "lm_head.", "lm_head."],
]);

/// One whose features a projector brings to the language model's width.
const PROJECTED: &[ModelPart] =
    &[("tower", &["vision_tower"], &[]), ("merger", &["multi_modal_projector"], &[]), LANGUAGE];

/// What files of models like LLaVA call their parts.
const LLAVA: Names = Names::new(&[
    ["model.", "language_model.model.", "model.language_model."],
    ["vision_tower.", "vision_tower.", "model.vision_tower."],
    ["multi_modal_projector.", "multi_modal_projector.", "model.multi_modal_projector."],
    ["lm_head.", "language_model.lm_head.", "lm_head."],
]);

/// Every one that there is.
pub(crate) const FAMILIES: [Family; 9] = [
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
    Family { model_type: "qwen3", text: qwen3, vision: None, names: Names::LANGUAGE, parts: WORDS },
    Family { model_type: "qwen3_moe", text: qwen3_moe, vision: None, names: Names::LANGUAGE, parts: WORDS },
    Family { model_type: "qwen3_vl", text: qwen3_multimodal, vision: Some(qwen3_vl), names: QWEN3_VL, parts: DEEP },
    Family {
        model_type: "qwen3_vl_moe",
        text: qwen3_moe_multimodal,
        vision: Some(qwen3_vl),
        names: QWEN3_VL,
        parts: DEEP,
    },
    Family {
        model_type: "aria",
        text: vr1_llm::aria,
        vision: Some(vr1_vision::aria),
        names: LLAVA,
        parts: PROJECTED,
    },
];
