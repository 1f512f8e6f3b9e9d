//! The model types that load. Another is a folder in vr1-llm or vr1-vision, and a line here.

use serde_json::{Map, Value};
use vr1_llm::{DecoderConfig, llama, qwen2};
use vr1_nn::Result;
use vr1_vision::{VisionConfig, qwen2_5_vl, qwen2_vl};

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
}

/// The numbers are transformers' bases of the rotary frequencies for files that give none.
pub(crate) const FAMILIES: [Family; 4] = [
    Family { model_type: "llama", text: |keys| llama(keys, 1e4), vision: None },
    Family { model_type: "qwen2", text: |keys| qwen2(keys, 1e4), vision: None },
    Family { model_type: "qwen2_vl", text: |keys| qwen2(keys, 1e6), vision: Some(qwen2_vl) },
    Family { model_type: "qwen2_5_vl", text: |keys| qwen2(keys, 1e6), vision: Some(qwen2_5_vl) },
];
