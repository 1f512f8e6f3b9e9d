use serde::Deserialize;
use serde_json::{Value, json};
use vr1_nn::{Activation, Heads, Path, Result, check_sizes, read_config, with_defaults};
use vr1_processor::Patches;

use super::Qwen2VlVision;
use crate::tower::{Cut, Sections, VisionConfig, VisionTower, heads};

/// The keys of `vision_config`; Hugging Face's names.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Qwen2VlVisionConfig {
    pub(crate) depth: i64,
    pub(crate) embed_dim: i64,
    /// The language model's width.
    pub(crate) hidden_size: i64,
    /// The MLP's width over the tower's.
    pub(crate) mlp_ratio: i64,
    pub(crate) num_heads: i64,
    in_channels: Option<i64>,
    /// The same in published files; some have both.
    in_chans: Option<i64>,
    patch_size: i64,
    spatial_merge_size: i64,
    temporal_patch_size: i64,
    pub(crate) hidden_act: Activation,
}

/// What transformers' class has for keys that are left out; channels go by two names.
fn defaults() -> Value {
    json!({
        "depth": 32, "embed_dim": 1280, "hidden_size": 3584, "mlp_ratio": 4, "num_heads": 16, "patch_size": 14,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "hidden_act": "quick_gelu",
    })
}

/// The tower that a `vision_config` describes; a key that is left out has the default of transformers' class.
///
/// # Errors
/// If a key is of the wrong type or impossible.
pub fn qwen2_vl(sections: &Sections<'_>) -> Result<Box<dyn VisionConfig>> {
    let config: Qwen2VlVisionConfig = read_config(&with_defaults(sections.vision, defaults()))?;
    check_sizes(&[
        ("depth", config.depth),
        ("embed_dim", config.embed_dim),
        ("hidden_size", config.hidden_size),
        ("mlp_ratio", config.mlp_ratio),
        ("in_channels", config.channels()),
        ("patch_size", config.patch_size),
        ("spatial_merge_size", config.spatial_merge_size),
        ("temporal_patch_size", config.temporal_patch_size),
    ])?;
    heads(("embed_dim", config.embed_dim), config.num_heads)?;
    Ok(Box::new(config))
}

impl Qwen2VlVisionConfig {
    fn channels(&self) -> i64 {
        self.in_channels.or(self.in_chans).unwrap_or(3)
    }

    /// How pictures are cut.
    pub(crate) fn squares(&self) -> Cut {
        let (channels, frames) = (self.channels(), self.temporal_patch_size);
        Cut { channels, patch: self.patch_size, merge: self.spatial_merge_size, frames }
    }

    pub(crate) fn heads(&self) -> Heads {
        let dim = self.embed_dim / self.num_heads;
        Heads { count: self.num_heads, key_value: self.num_heads, dim }
    }
}

impl VisionConfig for Qwen2VlVisionConfig {
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
        self.hidden_size
    }

    fn build(&self, root: &Path<'_>) -> Box<dyn VisionTower> {
        Box::new(Qwen2VlVision::new(&root.sub("visual"), self))
    }
}
