//! What families of models call their media, and how they count positions. Another is a line here.

/// How the positions of media go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Positions {
    /// By frame, row and column of the grid, a step each (M-RoPE of Qwen2-VL).
    Grid,
    /// The same, but that time counts in seconds: so many positions a second where `vision_config.tokens_per_second` does
    /// not say (Qwen2.5-VL).
    Seconds {
        /// The class's default.
        tokens_per_second: f64,
    },
}

/// The token names and positions of a family.
#[derive(Debug, PartialEq)]
pub(crate) struct Family {
    /// The `model_type`s of its checkpoints.
    model_types: &'static [&'static str],
    /// Stands for one token of an image.
    pub(crate) image: &'static str,
    /// Stands for one token of a video.
    pub(crate) video: &'static str,
    /// What stands before and after a piece of media.
    pub(crate) around: [&'static str; 2],
    /// What the model is shown and never says.
    pub(crate) unsaid: &'static [&'static str],
    /// What begins a text or says who speaks.
    pub(crate) roles: &'static [&'static str],
    /// What ends a turn or a text.
    pub(crate) ends: &'static [&'static str],
    /// The keys of `config.json` that give ids, and the tokens that they must be the ids of.
    pub(crate) ids: &'static [(&'static str, &'static str)],
    /// How positions go.
    pub(crate) positions: Positions,
}

const QWEN2_VL: Family = Family {
    model_types: &["qwen2_vl"],
    image: "<|image_pad|>",
    video: "<|video_pad|>",
    around: ["<|vision_start|>", "<|vision_end|>"],
    unsaid: &["<|image_pad|>", "<|video_pad|>", "<|vision_pad|>", "<|vision_start|>", "<|vision_end|>"],
    roles: &["<|im_start|>"],
    ends: &["<|im_end|>", "<|endoftext|>"],
    ids: &[
        ("image_token_id", "<|image_pad|>"),
        ("video_token_id", "<|video_pad|>"),
        ("vision_start_token_id", "<|vision_start|>"),
        ("vision_end_token_id", "<|vision_end|>"),
    ],
    positions: Positions::Grid,
};

/// The families; what is not among them (a language model, a tokenizer without a model) is as the first.
static FAMILIES: [Family; 3] = [
    QWEN2_VL,
    // Those of Llama 2 and 3, and of ChatML.
    Family {
        model_types: &["llama"],
        roles: &["<s>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|im_start|>"],
        ends: &["</s>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|endoftext|>"],
        ..QWEN2_VL
    },
    Family { model_types: &["qwen2_5_vl"], positions: Positions::Seconds { tokens_per_second: 4.0 }, ..QWEN2_VL },
];

impl Family {
    /// The family of a `model_type`.
    pub(crate) fn of(model_type: Option<&str>) -> &'static Self {
        let named = |family: &&Self| model_type.is_some_and(|name| family.model_types.contains(&name));
        FAMILIES.iter().find(named).unwrap_or(&FAMILIES[0])
    }
}
