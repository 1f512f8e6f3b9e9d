//! The model types that load. Another is a folder in vr1-llm or vr1-vision, and a line here.

use serde_json::{Map, Value};
use vr1_llm::{DecoderConfig, llama, qwen2, qwen2_multimodal};
use vr1_nn::Result;
use vr1_vision::{VisionConfig, qwen2_5_vl, qwen2_vl};

use super::freeze::ModelPart;

type Keys = Map<String, Value>;
/// Reads a config from the keys of a file's section.
type Reads<T> = fn(&Keys) -> Result<T>;

/// What a `model_type` is made of.
pub(crate) struct Family {
    pub(crate) model_type: &'static str,
    /// The language model, from the keys of `text_config` or, in a flat file, of the top level.
    pub(crate) text: Reads<DecoderConfig>,
    /// The vision tower, from the keys of `vision_config`.
    pub(crate) vision: Option<Reads<Box<dyn VisionConfig>>>,
    /// What settings call its parts.
    pub(crate) parts: &'static [ModelPart],
}

const LANGUAGE: ModelPart = ("language", &["model", "lm_head"], &[]);
/// A language model alone.
const WORDS: &[ModelPart] = &[LANGUAGE];
/// One with a tower whose features a merger brings to its width.
const MERGED: &[ModelPart] =
    &[("tower", &["visual"], &["visual.merger"]), ("merger", &["visual.merger"], &[]), LANGUAGE];

/// Every one that there is.
pub(crate) const FAMILIES: [Family; 4] = [
    Family { model_type: "llama", text: llama, vision: None, parts: WORDS },
    Family { model_type: "qwen2", text: qwen2, vision: None, parts: WORDS },
    Family { model_type: "qwen2_vl", text: qwen2_multimodal, vision: Some(qwen2_vl), parts: MERGED },
    Family { model_type: "qwen2_5_vl", text: qwen2_multimodal, vision: Some(qwen2_5_vl), parts: MERGED },
];
