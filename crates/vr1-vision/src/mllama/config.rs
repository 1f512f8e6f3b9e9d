use serde::Deserialize;
use serde_json::{Value, json};
use vr1_nn::{Activation, Error, Heads, Path, Result, check_sizes, read_config, with_defaults};
use vr1_processor::{Patches, Tiles};

use super::MllamaVision;
use crate::tower::{Cut, Sections, VisionConfig, VisionTower};

/// The keys of `vision_config`; Hugging Face's names.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MllamaVisionConfig {
    pub(crate) hidden_size: i64,
    pub(crate) intermediate_size: i64,
    /// Blocks of the first encoder, and of the second, which has gates.
    pub(crate) num_hidden_layers: i64,
    pub(crate) num_global_layers: i64,
    attention_heads: Option<i64>,
    /// The same, as other classes call it.
    num_attention_heads: Option<i64>,
    num_channels: i64,
    vision_output_dim: i64,
    /// Side of a tile in pixels.
    image_size: i64,
    pub(crate) patch_size: i64,
    pub(crate) norm_eps: f64,
    pub(crate) max_num_tiles: i64,
    /// The blocks of the first encoder of which the output is among the features.
    intermediate_layers_indices: Option<Vec<i64>>,
    supported_aspect_ratios: Option<Vec<[i64; 2]>>,
    pub(crate) hidden_act: Activation,
    /// The language model's width.
    #[serde(skip)]
    pub(crate) output: i64,
}

/// What transformers' class has for keys that are left out; heads go by two names.
fn defaults() -> Value {
    json!({
        "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_global_layers": 8, "num_channels": 3,
        "vision_output_dim": 7680, "image_size": 448, "patch_size": 14, "norm_eps": 1e-5, "max_num_tiles": 4,
        "hidden_act": "gelu",
    })
}

/// A tile's tokens are filled up to a multiple of this, which they never are: of no square is the next number one.
const MULTIPLE: i64 = 8;

/// The tower that a `vision_config` describes; a key that is left out has the default of transformers' class.
///
/// # Errors
/// If a key is of the wrong type or impossible.
pub fn mllama(sections: &Sections<'_>) -> Result<Box<dyn VisionConfig>> {
    let mut config: MllamaVisionConfig = read_config(&with_defaults(sections.vision, defaults()))?;
    config.output = sections.hidden_size;
    check_sizes(&[
        ("hidden_size", config.hidden_size),
        ("intermediate_size", config.intermediate_size),
        ("num_hidden_layers", config.num_hidden_layers),
        ("num_global_layers", config.num_global_layers),
        ("attention_heads", config.attention_heads()),
        ("num_channels", config.num_channels),
        ("image_size", config.image_size),
        ("patch_size", config.patch_size),
        ("max_num_tiles", config.max_num_tiles),
    ])?;
    config.check()?;
    Ok(Box::new(config))
}

impl MllamaVisionConfig {
    fn check(&self) -> Result<()> {
        let wrong = |key: &str, reason: String| Err(Error::Config(format!("`{key}`: {reason}")));
        let (width, heads) = (self.hidden_size, self.attention_heads());
        if width % heads != 0 {
            return wrong("attention_heads", format!("{heads} does not divide `hidden_size` {width}"));
        }
        if self.image_size % self.patch_size != 0 {
            let (side, patch) = (self.image_size, self.patch_size);
            return wrong("image_size", format!("{side} is not a multiple of `patch_size` {patch}"));
        }
        if self.max_num_tiles > 64 {
            return wrong("max_num_tiles", format!("{} is above 64", self.max_num_tiles));
        }
        let (layers, taken) = (self.num_hidden_layers, self.taken());
        if let Some(layer) = taken.iter().find(|layer| !(0..layers).contains(*layer)) {
            return wrong("intermediate_layers_indices", format!("{layer} is none of {layers} layers"));
        }
        let features = width * (1 + taken.len() as i64);
        if self.vision_output_dim != features {
            let (said, states) = (self.vision_output_dim, taken.len());
            return wrong(
                "vision_output_dim",
                format!("{said}, but the last state and {states} more of `hidden_size` {width} are {features} wide"),
            );
        }
        // Pictures are numbered by it, and not by what the file says.
        let canvases = self.canvases();
        match &self.supported_aspect_ratios {
            Some(said) if *said != canvases => {
                let tiles = self.max_num_tiles;
                wrong("supported_aspect_ratios", format!("{said:?} are not those of up to {tiles} tiles, {canvases:?}"))
            }
            None if self.max_num_tiles != 4 => {
                wrong("max_num_tiles", format!("{} needs its `supported_aspect_ratios`", self.max_num_tiles))
            }
            _ => Ok(()),
        }
    }

    fn attention_heads(&self) -> i64 {
        self.attention_heads.or(self.num_attention_heads).unwrap_or(16)
    }

    pub(crate) fn heads(&self) -> Heads {
        let count = self.attention_heads();
        Heads { count, key_value: count, dim: self.hidden_size / count }
    }

    /// The blocks of the first encoder of which the output is among the features.
    pub(crate) fn taken(&self) -> &[i64] {
        self.intermediate_layers_indices.as_deref().unwrap_or(&[3, 7, 15, 23, 30])
    }

    /// Rows and columns of all canvases that so many tiles fill, in the order in which they are numbered, from 1 on.
    fn canvases(&self) -> Vec<[i64; 2]> {
        let most = self.max_num_tiles;
        let pairs = (1..=most).flat_map(|rows| (1..=most).map(move |columns| [rows, columns]));
        pairs.filter(|[rows, columns]| rows * columns <= most).collect()
    }

    /// How many canvases there are.
    pub(crate) fn arrangements(&self) -> i64 {
        self.canvases().len() as i64
    }

    /// The tiles of a picture, and the number of its canvas; none where it was not laid out for this tower.
    pub(crate) fn arrangement(&self, tiles: &Tiles) -> Option<(i64, i64)> {
        let Tiles::Canvas { rows, columns } = *tiles else { return None };
        let place = self.canvases().iter().position(|canvas| *canvas == [rows as i64, columns as i64])?;
        Some(((rows * columns) as i64, place as i64 + 1))
    }

    /// The patches of a tile.
    pub(crate) fn tile_patches(&self) -> i64 {
        (self.image_size / self.patch_size).pow(2)
    }

    /// The tokens of a tile: its patches, and one for the whole.
    pub(crate) fn tile_tokens(&self) -> i64 {
        self.tile_patches() + 1
    }

    /// How many tokens of padding are put behind a tile's.
    pub(crate) fn padding(&self) -> i64 {
        MULTIPLE - self.tile_tokens() % MULTIPLE
    }

    /// The matrix that embeds a patch, `[E, channels, patch, patch]`.
    pub(crate) fn patch_shape(&self) -> [i64; 4] {
        [self.hidden_size, self.num_channels, self.patch_size, self.patch_size]
    }

    fn patch_values(&self) -> i64 {
        self.num_channels * self.patch_size * self.patch_size
    }
}

impl VisionConfig for MllamaVisionConfig {
    fn cut(&self) -> Option<Cut> {
        None
    }

    fn tokens(&self, patches: &Patches) -> Option<usize> {
        let (rows, width) = patches.pixel_values.dim();
        let (tiles, _) = self.arrangement(&patches.tiles)?;
        (rows as i64 == tiles * self.tile_patches() && width as i64 == self.patch_values()).then_some(1)
    }

    fn looked_at(&self, patches: &Patches) -> Option<usize> {
        let (tiles, _) = self.arrangement(&patches.tiles)?;
        usize::try_from(tiles * self.tile_tokens()).ok()
    }

    fn wants(&self) -> String {
        let (tiles, patches, values) = (self.max_num_tiles, self.tile_patches(), self.patch_values());
        format!("one token for up to {tiles} tiles of {patches} patches of {values} values")
    }

    fn output(&self) -> i64 {
        self.output
    }

    fn build(&self, root: &Path<'_>) -> Box<dyn VisionTower> {
        Box::new(MllamaVision::new(root, self))
    }
}
