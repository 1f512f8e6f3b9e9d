use serde::{Deserialize, Serialize};
use vr1_nn::{Activation, Error, Heads, Result};

/// The keys of `vision_config` in a checkpoint's `config.json`; Hugging Face's names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Qwen2VlVisionConfig {
    /// Blocks.
    pub depth: usize,
    /// Width of the tower.
    pub embed_dim: i64,
    /// Width of the language model that the merger projects to.
    pub hidden_size: i64,
    /// The MLP's width over the tower's.
    pub mlp_ratio: i64,
    /// Attention heads.
    pub num_heads: i64,
    /// Colour channels.
    #[serde(default = "three")]
    pub in_channels: i64,
    /// Side of a patch in pixels.
    pub patch_size: i64,
    /// Side of the square of patches that becomes one token.
    pub spatial_merge_size: i64,
    /// Frames in a patch.
    pub temporal_patch_size: i64,
    /// The MLP's activation.
    #[serde(default = "quick_gelu")]
    pub hidden_act: Activation,
}

fn three() -> i64 {
    3
}

fn quick_gelu() -> Activation {
    Activation::QuickGelu
}

impl Qwen2VlVisionConfig {
    /// The attention heads.
    ///
    /// # Errors
    /// If the heads do not divide the width, or are of a size that two rotary axes cannot share.
    pub fn heads(&self) -> Result<Heads> {
        let (width, count) = (self.embed_dim, self.num_heads);
        if count < 1 || width % count != 0 || (width / count) % 4 != 0 {
            return Err(Error::Config(format!(
                "vision_config: embed_dim {width} must be a multiple of four times num_heads {count}"
            )));
        }
        Heads::new(count, count, width / count)
    }

    /// Numbers in a flattened patch.
    pub fn patch_numbers(&self) -> i64 {
        self.in_channels * self.temporal_patch_size * self.patch_size * self.patch_size
    }
}
