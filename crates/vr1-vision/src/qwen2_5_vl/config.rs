use serde::Deserialize;
use serde_json::{Value, json};
use vr1_nn::{Activation, Error, Heads, Path, Result, check_sizes, read_config, with_defaults};
use vr1_processor::Patches;

use super::Qwen25VlVision;
use crate::tower::{Cut, Sections, VisionConfig, VisionTower, heads};

/// The keys of `vision_config`; Hugging Face's names.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Qwen25VlVisionConfig {
    pub(crate) depth: i64,
    /// The tower's own width.
    pub(crate) hidden_size: i64,
    pub(crate) intermediate_size: i64,
    /// The language model's width.
    pub(crate) out_hidden_size: i64,
    num_heads: i64,
    in_channels: Option<i64>,
    /// The same in published files; some have both.
    in_chans: Option<i64>,
    patch_size: i64,
    spatial_merge_size: i64,
    temporal_patch_size: i64,
    /// Side of a window in pixels.
    window_size: i64,
    /// The blocks that see whole frames.
    pub(crate) fullatt_block_indexes: Vec<i64>,
    pub(crate) hidden_act: Activation,
}

/// What transformers' class has for keys that are left out; channels go by two names.
fn defaults() -> Value {
    json!({
        "depth": 32, "hidden_size": 3584, "intermediate_size": 3420, "out_hidden_size": 3584, "num_heads": 16,
        "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31], "hidden_act": "silu",
    })
}

/// The tower that a `vision_config` describes; a key that is left out has the default of transformers' class.
///
/// # Errors
/// If a key is of the wrong type or impossible.
pub fn qwen2_5_vl(sections: &Sections<'_>) -> Result<Box<dyn VisionConfig>> {
    let config: Qwen25VlVisionConfig = read_config(&with_defaults(sections.vision, defaults()))?;
    check_sizes(&[
        ("depth", config.depth),
        ("hidden_size", config.hidden_size),
        ("intermediate_size", config.intermediate_size),
        ("out_hidden_size", config.out_hidden_size),
        ("in_channels", config.channels()),
        ("patch_size", config.patch_size),
        ("spatial_merge_size", config.spatial_merge_size),
        ("temporal_patch_size", config.temporal_patch_size),
        ("window_size", config.window_size),
    ])?;
    heads(("hidden_size", config.hidden_size), config.num_heads)?;
    if config.window() < 1 {
        let (window, patch, merge) = (config.window_size, config.patch_size, config.spatial_merge_size);
        let reason = format!("`window_size`: {window} holds no square of {merge} × {merge} patches of {patch}");
        return Err(Error::Config(reason));
    }
    Ok(Box::new(config))
}

impl Qwen25VlVisionConfig {
    fn channels(&self) -> i64 {
        self.in_channels.or(self.in_chans).unwrap_or(3)
    }

    /// How pictures are cut.
    pub(crate) fn squares(&self) -> Cut {
        let (channels, frames) = (self.channels(), self.temporal_patch_size);
        Cut { channels, patch: self.patch_size, merge: self.spatial_merge_size, frames }
    }

    pub(crate) fn heads(&self) -> Heads {
        let dim = self.hidden_size / self.num_heads;
        Heads { count: self.num_heads, key_value: self.num_heads, dim }
    }

    /// Side of a window in squares of patches.
    pub(crate) fn window(&self) -> i64 {
        self.window_size / self.spatial_merge_size / self.patch_size
    }
}

impl VisionConfig for Qwen25VlVisionConfig {
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
        Box::new(Qwen25VlVision::new(&root.sub("visual"), self))
    }
}
