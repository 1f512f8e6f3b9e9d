//! The model types that load. Another is a folder in vr1-llm or vr1-vision, and a line here.

use serde_json::{Map, Value};
use vr1_llm::{
    DecoderConfig, llama, mistral, mllama, qwen2, qwen2_multimodal, qwen3, qwen3_moe, qwen3_moe_multimodal,
    qwen3_multimodal,
};
use vr1_nn::{Error, Names, Result};
use vr1_vision::{
    Sections, VisionConfig, aria, idefics3, llava, llava_next, mllama as mllama_vision, qwen2_5_vl, qwen2_vl, qwen3_vl,
};

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
    /// At which level of a config `tie_word_embeddings` counts.
    pub(crate) ties: Ties,
    /// What its files call its parameters.
    pub(crate) names: Names,
    /// What settings call its parts.
    pub(crate) parts: &'static [ModelPart],
}

/// At which level of a config with a `text_config` it counts that embeddings are tied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ties {
    /// At the outer; where that does not say, in the section.
    OuterFirst,
    /// At the outer alone.
    Outer,
    /// Where one says that they are.
    Either,
}

impl Ties {
    /// Leaves in the keys of `text_config` what counts.
    pub(crate) fn settle(self, outer: &Map<String, Value>, text: &mut Map<String, Value>) {
        const KEY: &str = "tie_word_embeddings";
        let (outside, inside) = (outer.get(KEY).cloned(), text.remove(KEY));
        let counts = match self {
            Self::OuterFirst => outside.or(inside),
            Self::Outer => outside,
            Self::Either => inside.filter(|tied| *tied != Value::Bool(false)).or(outside),
        };
        text.extend(counts.map(|tied| (KEY.to_owned(), tied)));
    }
}

/// The language model that a section describes: a Llama, or what its `model_type` says.
fn language(keys: &Map<String, Value>) -> Result<DecoderConfig> {
    let Some(said) = keys.get("model_type") else { return llama(keys) };
    let languages = || FAMILIES.iter().filter(|family| family.vision.is_none());
    match languages().find(|family| said == family.model_type) {
        Some(family) => (family.text)(keys),
        None => {
            let known: Vec<&str> = languages().map(|family| family.model_type).collect();
            Err(Error::Config(format!("`model_type`: {said} is not one of {}", known.join(", "))))
        }
    }
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

/// The tower of LLaVA is CLIP or SigLIP, and what brings its features to the language model's width is an MLP.
const PROJECTED: &[ModelPart] =
    &[("tower", &["vision_tower"], &[]), ("merger", &["multi_modal_projector", "image_newline"], &[]), LANGUAGE];

/// What files of LLaVA call its parts; the second row of the tower is from between the generations.
const LLAVA: Names = Names::new(&[
    ["model.", "language_model.model.", "model.language_model."],
    ["lm_head.", "language_model.lm_head.", "lm_head."],
    ["vision_tower.", "vision_tower.vision_model.", "model.vision_tower."],
    ["vision_tower.", "vision_tower.", "model.vision_tower.vision_model."],
    ["multi_modal_projector.", "multi_modal_projector.", "model.multi_modal_projector."],
    ["image_newline", "image_newline", "model.image_newline"],
]);

/// The tower of Idefics3 has a matrix behind it.
const CONNECTED: &[ModelPart] = &[("tower", &["vision_model"], &[]), ("merger", &["connector"], &[]), LANGUAGE];

/// What files of Idefics3 call its parts, in all generations.
const IDEFICS3: Names = Names::new(&[
    ["model.", "model.text_model.", "model.text_model."],
    ["lm_head.", "lm_head.", "lm_head."],
    ["vision_model.", "model.vision_model.", "model.vision_model."],
    ["connector.", "model.connector.", "model.connector."],
]);

/// A language model by itself.
const ALONE: Family = Family {
    model_type: "llama",
    text: llama,
    vision: None,
    ties: Ties::OuterFirst,
    names: Names::LANGUAGE,
    parts: WORDS,
};

/// Qwen's with a tower.
const QWEN2_VL: Family = Family {
    model_type: "qwen2_vl",
    text: qwen2_multimodal,
    vision: Some(qwen2_vl),
    ties: Ties::OuterFirst,
    names: QWEN_VL,
    parts: MERGED,
};

/// LLaVA's.
const PROJECTING: Family = Family {
    model_type: "llava",
    text: language,
    vision: Some(llava),
    ties: Ties::Either,
    names: LLAVA,
    parts: PROJECTED,
};

/// Idefics3's.
const CONNECTING: Family = Family {
    model_type: "idefics3",
    text: language,
    vision: Some(idefics3),
    ties: Ties::Outer,
    names: IDEFICS3,
    parts: CONNECTED,
};

/// One with a tower that has mergers for deeper layers too.
const DEEP: &[ModelPart] = &[
    ("tower", &["visual"], &["visual.merger", "visual.deepstack_merger_list"]),
    ("merger", &["visual.merger", "visual.deepstack_merger_list"], &[]),
    LANGUAGE,
];

/// What files of Qwen3-VL call its parts, published as today's.
const QWEN3_NAMES: Names = Names::new(&[
    ["model.", "model.language_model.", "model.language_model."],
    ["visual.", "model.visual.", "model.visual."],
    ["lm_head.", "lm_head.", "lm_head."],
]);

/// What files of Aria call its parts.
const ARIA: Names = Names::new(&[
    ["model.", "language_model.model.", "model.language_model."],
    ["lm_head.", "language_model.lm_head.", "lm_head."],
    ["vision_tower.", "vision_tower.", "model.vision_tower."],
    ["multi_modal_projector.", "multi_modal_projector.", "model.multi_modal_projector."],
]);

/// Qwen3's with a tower.
const QWEN3_VL: Family = Family {
    model_type: "qwen3_vl",
    text: qwen3_multimodal,
    vision: Some(qwen3_vl),
    ties: Ties::Outer,
    names: QWEN3_NAMES,
    parts: DEEP,
};

/// The tower of Llama 3.2 Vision has one matrix behind it.
const TILED: &[ModelPart] = &[("tower", &["vision_model"], &[]), ("merger", &["multi_modal_projector"], &[]), LANGUAGE];

/// What both generations of Llama 3.2 Vision's files call its parts.
const MLLAMA: Names = Names::new(&[
    ["model.", "language_model.model.", "model.language_model."],
    ["lm_head.", "language_model.lm_head.", "lm_head."],
    ["vision_model.", "vision_model.", "model.vision_model."],
    ["multi_modal_projector", "multi_modal_projector", "model.multi_modal_projector"],
]);

/// Every one that there is.
pub(crate) const FAMILIES: [Family; 15] = [
    ALONE,
    Family { model_type: "mistral", text: mistral, ..ALONE },
    Family { model_type: "qwen2", text: qwen2, ..ALONE },
    QWEN2_VL,
    Family { model_type: "qwen2_5_vl", vision: Some(qwen2_5_vl), ..QWEN2_VL },
    PROJECTING,
    Family { model_type: "llava_next", vision: Some(llava_next), ties: Ties::Outer, ..PROJECTING },
    CONNECTING,
    Family { model_type: "smolvlm", ..CONNECTING },
    Family { model_type: "qwen3", text: qwen3, ..ALONE },
    Family { model_type: "qwen3_moe", text: qwen3_moe, ..ALONE },
    QWEN3_VL,
    Family { model_type: "qwen3_vl_moe", text: qwen3_moe_multimodal, ..QWEN3_VL },
    Family {
        model_type: "mllama",
        text: mllama,
        vision: Some(mllama_vision),
        ties: Ties::Outer,
        names: MLLAMA,
        parts: TILED,
    },
    Family {
        model_type: "aria",
        text: vr1_llm::aria,
        vision: Some(aria),
        ties: Ties::Outer,
        names: ARIA,
        parts: PROJECTED,
    },
];

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{FAMILIES, language};

    fn keys(json: Value) -> Map<String, Value> {
        json.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn embeddings_are_tied_where_transformers_ties_them() {
        // Of each family, for what is said outside and inside.
        let said = [None, Some(false), Some(true)];
        for (model_type, tied) in [
            ("qwen2_vl", [[false, false, true], [false, false, false], [true, true, true]]),
            ("llava", [[false, false, true], [false, false, true], [true, true, true]]),
            ("llava_next", [[false, false, false], [false, false, false], [true, true, true]]),
            ("smolvlm", [[false, false, false], [false, false, false], [true, true, true]]),
        ] {
            for (outside, tied) in said.iter().zip(tied) {
                for (inside, tied) in said.iter().zip(tied) {
                    let level = |said: &Option<bool>| {
                        keys(said.map_or(json!({}), |said| json!({ "tie_word_embeddings": said })))
                    };
                    let mut text = level(inside);
                    let family = FAMILIES.iter().find(|family| family.model_type == model_type);
                    family.expect("a family").ties.settle(&level(outside), &mut text);
                    let found = text.get("tie_word_embeddings").is_some_and(|said| said == true);
                    assert_eq!(found, tied, "{model_type}: {outside:?} outside, {inside:?} inside");
                }
            }
        }
    }

    #[test]
    fn a_language_model_inside_is_what_its_section_says() {
        let biases = |json: Value| language(&keys(json)).map(|config| config.qkv_bias).map_err(|e| e.to_string());
        assert_eq!(biases(json!({})), biases(json!({ "model_type": "llama" })));
        assert_ne!(biases(json!({})), biases(json!({ "model_type": "qwen2" })));
        let error = biases(json!({ "model_type": "phi3" })).expect_err("an unknown language model");
        assert!(error.starts_with("`model_type`: \"phi3\" is not one of llama, mistral, qwen2"), "{error}");
        assert!(biases(json!({ "model_type": "llava" })).is_err());
    }
}
