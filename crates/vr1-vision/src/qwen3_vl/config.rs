use serde::Deserialize;
use serde_json::{Value, json};
use vr1_nn::{Activation, Error, Heads, Path, Result, check_sizes, read_config, with_defaults};
use vr1_processor::Patches;

use super::Qwen3VlVision;
use crate::tower::{Cut, Sections, VisionConfig, VisionTower, heads};

/// The keys of `vision_config`; Hugging Face's names.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Qwen3VlVisionConfig {
    pub(crate) depth: i64,
    /// The tower's own width.
    pub(crate) hidden_size: i64,
    pub(crate) intermediate_size: i64,
    /// The language model's width.
    pub(crate) out_hidden_size: i64,
    num_heads: i64,
    in_channels: i64,
    patch_size: i64,
    spatial_merge_size: i64,
    temporal_patch_size: i64,
    /// A square of learned positions.
    pub(crate) num_position_embeddings: i64,
    /// The blocks behind which features are taken for deeper layers.
    pub(crate) deepstack_visual_indexes: Vec<i64>,
    pub(crate) hidden_act: Activation,
}

/// What transformers' class has for keys that are left out.
fn defaults() -> Value {
    json!({
        "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "out_hidden_size": 3584, "num_heads": 16,
        "in_channels": 3, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
        "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24], "hidden_act": "gelu_pytorch_tanh",
    })
}

/// The tower that a `vision_config` describes; a key that is left out has the default of transformers' class.
///
/// # Errors
/// If a key is of the wrong type or impossible.
pub fn qwen3_vl(sections: &Sections<'_>) -> Result<Box<dyn VisionConfig>> {
    let config: Qwen3VlVisionConfig = read_config(&with_defaults(sections.vision, defaults()))?;
    check_sizes(&[
        ("depth", config.depth),
        ("hidden_size", config.hidden_size),
        ("intermediate_size", config.intermediate_size),
        ("out_hidden_size", config.out_hidden_size),
        ("in_channels", config.in_channels),
        ("patch_size", config.patch_size),
        ("spatial_merge_size", config.spatial_merge_size),
        ("temporal_patch_size", config.temporal_patch_size),
        ("num_position_embeddings", config.num_position_embeddings),
    ])?;
    heads(("hidden_size", config.hidden_size), config.num_heads)?;
    let deep = &config.deepstack_visual_indexes;
    let wrong = |(place, block): (usize, &i64)| !(0..config.depth).contains(block) || deep[..place].contains(block);
    if let Some((_, block)) = deep.iter().enumerate().find(|&(place, block)| wrong((place, block))) {
        let reason = format!("`deepstack_visual_indexes`: {block} is there twice, or is no block of {}", config.depth);
        return Err(Error::Config(reason));
    }
    Ok(Box::new(config))
}

impl Qwen3VlVisionConfig {
    /// How pictures are cut.
    pub(crate) fn squares(&self) -> Cut {
        let (channels, frames) = (self.in_channels, self.temporal_patch_size);
        Cut { channels, patch: self.patch_size, merge: self.spatial_merge_size, frames }
    }

    pub(crate) fn heads(&self) -> Heads {
        let dim = self.hidden_size / self.num_heads;
        Heads { count: self.num_heads, key_value: self.num_heads, dim }
    }

    /// Side of the square of learned positions.
    pub(crate) fn side(&self) -> i64 {
        self.num_position_embeddings.isqrt()
    }
}

impl VisionConfig for Qwen3VlVisionConfig {
    fn cut(&self) -> Option<Cut> {
        Some(self.squares())
    }

    fn tokens(&self, patches: &Patches) -> Option<usize> {
        self.squares().tokens(patches)
    }

    fn wants(&self) -> String {
        self.squares().wants()
    }

    fn output(&self) -> i64 {
        self.out_hidden_size
    }

    fn build(&self, root: &Path<'_>) -> Box<dyn VisionTower> {
        Box::new(Qwen3VlVision::new(&root.sub("visual"), self))
    }
}
